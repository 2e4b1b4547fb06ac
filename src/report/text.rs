//! A report as text that fits a terminal, coloured by escape codes: whoever writes it to anything
//! else takes them out.

use std::fmt::{self, Display};

use anstyle::{AnsiColor, Style};

use super::{Check, Met, Part, Picture, Report, wrap::wrap};

/// A report as text.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// The report.
    pub report: &'a Report,
    /// Whether no more is said than what was expected, and whether it is so.
    pub quiet: bool,
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        for part in &report.parts {
            if self.quiet {
                if !part.checks.is_empty() {
                    write_title(f, part)?;
                    write_checks(f, part)?;
                }
            } else {
                write_part(f, part)?;
                writeln!(f)?;
            }
        }
        if !self.quiet {
            wrap(f, 0, &report.provenance())?;
        }
        let (yes, all) = report.count();
        let style = style(report.met());
        writeln!(f, "{}: {style}{yes} of {all} as expected{style:#}", report.scenario)
    }
}

fn write_part(f: &mut fmt::Formatter<'_>, part: &Part) -> fmt::Result {
    write_title(f, part)?;
    write_checks(f, part)?;
    for figure in &part.figures {
        write!(f, "{:6}", "")?;
        wrap(f, 6, &figure.to_string())?;
    }
    for table in &part.tables {
        write!(f, "\n  ")?;
        wrap(f, 2, &table.title)?;
        write!(f, "{table}")?;
    }
    for picture in &part.pictures {
        if let Picture::Timeline(timeline) = picture {
            write!(f, "\n  ")?;
            wrap(f, 2, &timeline.title)?;
            write!(f, "{timeline}")?;
        }
    }
    Ok(())
}

fn write_title(f: &mut fmt::Formatter<'_>, part: &Part) -> fmt::Result {
    let bold = Style::new().bold();
    write!(f, "{bold}")?;
    wrap(f, 0, &part.title)?;
    write!(f, "{bold:#}")
}

fn write_checks(f: &mut fmt::Formatter<'_>, part: &Part) -> fmt::Result {
    for Check { claim, seen, met } in &part.checks {
        let mark = match met {
            Met::Yes => "yes",
            Met::No => "NO",
            Met::Unknown => "?",
        };
        let style = style(*met);
        write!(f, "  {style}{mark}{style:#}{:1$}", "", 4 - mark.len())?;
        wrap(f, 6, &format!("{claim}: {seen}"))?;
    }
    Ok(())
}

fn style(met: Met) -> Style {
    match met {
        Met::Yes => AnsiColor::Green.on_default(),
        Met::No => AnsiColor::Red.on_default().bold(),
        Met::Unknown => AnsiColor::Yellow.on_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::report::{Table, wrap::WIDTH};

    fn part() -> Part {
        let mut part = Part::new("a part with a title that is long ".repeat(4));
        part.check("word ".repeat(50), "x".repeat(130), true);
        part.unknown("it \x1b[31mholds", "nobody knows");
        part.measure("how long", "ms", vec![3.0, 1.0, 2.0]);
        part.measure("nothing", "ms", Vec::new());
        let (title, columns) = ("side by side".to_owned(), vec!["lock".to_owned(); 12]);
        part.tables.push(Table { title, columns, rows: vec![vec!["long cell".repeat(9); 12]] });
        part
    }

    /// What is seen where there are no colours.
    fn plain(text: Text<'_>) -> String {
        let mut plain = anstream::StripStream::new(Vec::new());
        write!(plain, "{text}").unwrap();
        String::from_utf8(plain.into_inner()).unwrap()
    }

    #[test]
    fn text_fits_a_terminal() {
        let report = Report { parts: vec![part()], ..Report::new("test") };
        let text = plain(Text { report: &report, quiet: false });
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.contains("how long: 2.0 ms (1.0 to 3.0, 3 times)"), "{text}");
        assert!(!text.contains("nothing:") && text.contains("side by side"), "{text}");
        assert!(text.contains("seed") && text.contains(report.commit), "{text}");
        assert!(text.ends_with("test: 1 of 2 as expected\n"), "{text}");
        assert!(!text.contains('\x1b'), "{text:?}");
    }

    #[test]
    fn quiet_text_is_titles_checks_and_the_last_line() {
        let report = Report { parts: vec![part()], ..Report::new("test") };
        let text = plain(Text { report: &report, quiet: true });
        assert!(text.starts_with("a part") && text.contains("\n  yes word word"), "{text}");
        assert!(text.contains("\n  ?   it [31mholds: nobody knows\ntest: 1 of 2"), "{text}");
        assert!(!text.contains("how long") && !text.contains("side by side"), "{text}");
    }
}
