//! Pictures as SVG, to be put into a page: white, and so legible on whatever the page is.

mod bars;
mod canvas;
mod distribution;
mod legend;
mod lines;
mod scale;
mod timeline;

use self::canvas::DrawError;
use super::picture::Picture;

/// Draws a picture.
///
/// # Errors
/// The library refused.
pub fn svg(picture: &Picture) -> Result<String, DrawError> {
    match picture {
        Picture::Timeline(timeline) => timeline::draw(timeline),
        Picture::Distribution(groups) => distribution::draw(groups),
        Picture::Bars(groups) => bars::draw(groups),
        Picture::Lines(lines) => lines::draw(lines),
    }
}

/// What a picture shows.
pub fn title(picture: &Picture) -> &str {
    match picture {
        Picture::Timeline(timeline) => &timeline.title,
        Picture::Distribution(groups) | Picture::Bars(groups) => &groups.title,
        Picture::Lines(lines) => &lines.title,
    }
}

#[cfg(test)]
mod tests;
