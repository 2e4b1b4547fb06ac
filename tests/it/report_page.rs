//! The page of a report, in a browser: it needs nothing else, and its pictures can be read.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use locklab::report;
use serde_json::Value;

use crate::{report_pictures, server::command};

/// Looks at the page from within, and writes down what there is to see.
const LOOK: &str = r#"<script>
const seen = { pictures: 0, flat: [], clipped: [], overlapping: [], references: [] };
for (const picture of document.querySelectorAll('svg')) {
  seen.pictures += 1;
  const name = (picture.querySelector('title') || {}).textContent;
  const box = picture.getBoundingClientRect();
  if (!name || box.width <= 0 || box.height <= 0) seen.flat.push(String(name));
  const texts = [...picture.querySelectorAll('text')].map(text => {
    const { left, right, top, bottom } = text.getBoundingClientRect();
    return { left, right, top, bottom, words: text.textContent.trim() };
  });
  for (const [index, text] of texts.entries()) {
    if (text.left < box.left - 1 || text.right > box.right + 1
        || text.top < box.top - 1 || text.bottom > box.bottom + 1)
      seen.clipped.push(`${name}: ${text.words}`);
    for (const other of texts.slice(index + 1)) {
      // Lines are a bit higher than their letters.
      if (text.left < other.right - 1 && other.left < text.right - 1
          && text.top < other.bottom - 4 && other.top < text.bottom - 4)
        seen.overlapping.push(`${name}: ${text.words} / ${other.words}`);
    }
  }
}
for (const element of document.querySelectorAll('[src], [href], link, iframe, object, embed'))
  seen.references.push(element.outerHTML);
for (const entry of performance.getEntriesByType('resource')) seen.references.push(entry.name);
for (const style of document.querySelectorAll('style'))
  if (/url\(|@import/.test(style.textContent)) seen.references.push(style.textContent);
const result = document.createElement('pre');
result.id = 'seen';
result.textContent = JSON.stringify(seen);
document.body.append(result);
</script>"#;

/// A browser with nothing to remember.
fn chromium(page: &Path, arguments: &[&str]) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let mut browser = Command::new("chromium");
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]);
    // Shared memory is scarce in containers.
    browser.args(["--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"]);
    browser.arg(format!("--user-data-dir={}", profile.path().display()));
    browser.args(arguments).arg(format!("file://{}", page.display()));
    let output = browser.output().expect("make test installs chromium");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, log) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{log}");
    (out, log)
}

/// What there is to see on a page, and what its console says.
fn look(page: &Path) -> (Value, Vec<String>) {
    let copy = page.with_extension("looked-at.html");
    let text = fs::read_to_string(page).unwrap();
    fs::write(&copy, text.replace("</body>", &format!("{LOOK}</body>"))).unwrap();
    let (dom, log) = chromium(&copy, &["--dump-dom"]);
    fs::remove_file(&copy).unwrap();
    let (_, seen) = dom.split_once(r#"<pre id="seen">"#).unwrap_or_else(|| panic!("{dom}\n{log}"));
    let (seen, _) = seen.split_once("</pre>").unwrap();
    let seen = seen.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let console = log.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    (serde_json::from_str(&seen).unwrap(), console)
}

/// Kept in the target folder, for whoever wants to look as well.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn assert_legible(page: &Path, pictures: usize) {
    let (seen, console) = look(page);
    assert_eq!(console, [""; 0]);
    assert_eq!(seen["pictures"], pictures, "{seen:#}");
    for defect in ["flat", "clipped", "overlapping", "references"] {
        assert_eq!(seen[defect], Value::Array(Vec::new()), "{defect}");
    }
}

/// Every kind of picture can be read, whether there is little to see or much.
#[test]
fn pictures_can_be_read() {
    let page = file("report-pictures.html");
    let report = report_pictures::report();
    fs::write(&page, report::html::page(&report)).unwrap();
    assert_legible(&page, report.parts.iter().map(|part| part.pictures.len()).sum());
    let shot = file("report-pictures.png");
    chromium(&page, &[&format!("--screenshot={}", shot.display()), "--window-size=1100,9000"]);
    let shot = fs::read(shot).unwrap();
    assert_eq!(&shot[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(shot[at..at + 4].try_into().unwrap());
    assert_eq!((number(16), number(20)), (1100, 9000), "its width and height");
}

/// The same of what scenarios have really found.
#[test]
fn the_page_of_a_scenario_can_be_read() {
    for (name, flags, code, pictures) in [
        ("oversell", &["--lock=none,safe", "--concurrency=40"][..], 1, 4),
        ("retry", &["--concurrency=6", "--stock=3", "--max-retries=3"], 0, 2),
        ("crash", &["--ttl-edge", "--ttl=300", "--work=600", "--lock=safe,fenced"], 0, 2),
    ] {
        let page = file(&format!("report-{name}.html"));
        let flags = [&[name], flags, &["--quiet", "--html", page.to_str().unwrap()]].concat();
        let output = command(&flags).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{name}: {stderr}");
        assert_legible(&page, pictures);
        let text = fs::read_to_string(&page).unwrap();
        let verdict = if code == 0 { "as expected" } else { "NOT as expected" };
        assert!(
            text.contains(verdict) && text.contains("Redis 7") || text.contains("Valkey"),
            "{name}"
        );
        assert_eq!(name == "retry", !text.contains("sold a unit that was not there"), "{name}");
    }
}

/// What the test looks for, it finds.
#[test]
fn an_illegible_page_is_found_out() {
    let page = file("report-illegible.html");
    let text = r#"<!DOCTYPE html><html><body><img src="nowhere.png" alt="">
        <svg width="100" height="40" viewBox="0 0 100 40"><title>bad</title>
        <text x="60" y="20">far too long for this</text><text x="70" y="22">over it</text></svg>
        <svg width="0" height="0"></svg><script>console.error("oh")</script></body></html>"#;
    fs::write(&page, text).unwrap();
    let (seen, console) = look(&page);
    assert!(console.iter().any(|line| line.contains("oh")), "{console:?}");
    for defect in ["flat", "clipped", "overlapping", "references"] {
        assert_ne!(seen[defect], Value::Array(Vec::new()), "{defect}: {seen:#}");
    }
}
