//! What a page says.

use super::*;
use crate::{
    backends::version::ServerVersion,
    report::picture::{Group, Groups},
};

fn report() -> Report {
    let mut part = Part::new("a <part> & more");
    part.check("it holds", "so it was", true);
    part.unknown("it lasts", "nobody </script><script>alert(1)</script> looked");
    part.measure("how long", "ms", vec![1.25, 2.0, 900.0]);
    let samples = vec![4.0, 5.0];
    let groups = vec![Group { name: "safe".to_owned(), samples }];
    let (title, unit) = ("how <long>".to_owned(), "ms");
    part.pictures.push(Picture::Bars(Groups { title, unit, groups }));
    let (title, columns) = ("a table".to_owned(), vec!["lock".to_owned(), "ms".to_owned()]);
    let rows = vec![vec!["safe".to_owned(), "<1".to_owned()]];
    part.tables.push(Table { title, columns, rows });
    let server = ServerVersion { backend: "redis", version: "Redis 7.0.15".to_owned() };
    let (parts, servers) = (vec![part], vec![server]);
    Report { parts, servers, seed: Some(42), ..Report::new("test") }
}

#[test]
fn a_page_says_everything() {
    let (report, page) = (report(), page(&report()));
    for text in [
        "<title>locklab test: not measured</title>",
        "<strong>not measured</strong> – 1 of 2 checks are as expected, 1 could not be measured",
        "<td>42</td>",
        report.commit,
        "<td>Redis 7.0.15</td>",
        "<h2>a &lt;part&gt; &amp; more</h2>",
        "<span class=\"mark\">as expected</span>",
        "<span class=\"mark\">not measured</span>",
        "<td class=\"number\">2</td><td class=\"number\">1.25</td><td class=\"number\">900</td>",
        "&lt;1",
        "<title>how &lt;long&gt;</title>",
        "prefers-color-scheme: dark",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
}

/// What was recorded can be read back, whatever is in it, and nothing in it is a script.
#[test]
fn a_page_carries_the_report() {
    let (report, page) = (report(), page(&report()));
    assert_eq!(page.matches("<script").count(), 1, "{page}");
    let (_, json) = page.split_once("id=\"report\">").unwrap();
    let (json, _) = json.split_once("</script>").unwrap();
    let carried: serde_json::Value = serde_json::from_str(json).unwrap();
    let mut expected = serde_json::to_value(&report).unwrap();
    expected["timestamp"] = carried["timestamp"].clone();
    assert_eq!(carried, expected);
}

#[test]
fn the_verdict_is_the_worst_check() {
    let of = |met: &[Met]| {
        let check = |&met: &Met| Check { claim: String::new(), seen: String::new(), met };
        let part = Part { checks: met.iter().map(check).collect(), ..Part::default() };
        verdict(&Report { parts: vec![part], ..Report::new("test") }).0
    };
    assert_eq!(of(&[Met::Yes]), "as expected");
    assert_eq!(of(&[Met::Yes, Met::Unknown]), "not measured");
    assert_eq!(of(&[Met::Yes, Met::Unknown, Met::No]), "not as expected");
    assert_eq!(of(&[]), "not measured");
}
