//! A report as a page that needs nothing else: no network, no script, no fonts of its own.

mod style;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    Check, Figure, Host, Met, Part, Picture, Report, Table, draw,
    summary::{Summary, short},
};

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let (word, sentence) = verdict(report);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "locklab " (report.scenario) ": " (word) }
                style { (PreEscaped(style::STYLE)) }
            }
            body {
                h1 { "locklab " (report.scenario) }
                p class={ "verdict " (class(report.met())) } { strong { (word) } " – " (sentence) }
                (provenance(report))
                @for part in &report.parts { (section(part)) }
                (raw(report))
            }
        }
    }
    .into_string()
}

fn verdict(report: &Report) -> (&'static str, String) {
    let (yes, all) = report.count();
    let sentence = format!("{yes} of {all} checks are as expected");
    let checks = report.parts.iter().flat_map(|part| &part.checks);
    let unknown = checks.filter(|check| check.met == Met::Unknown).count();
    match report.met() {
        Met::Yes => ("as expected", sentence),
        Met::No if unknown == 0 => ("not as expected", sentence),
        met => {
            let word = if met == Met::No { "not as expected" } else { "not measured" };
            (word, format!("{sentence}, {unknown} could not be measured"))
        }
    }
}

/// The colour of a check; its words say the same.
fn class(met: Met) -> &'static str {
    match met {
        Met::Yes => "yes",
        Met::No => "no",
        Met::Unknown => "unknown",
    }
}

fn provenance(report: &Report) -> Markup {
    let unknown = || "unknown".to_owned();
    let seed = report.seed.map_or_else(|| "none".to_owned(), |seed| seed.to_string());
    let Host { system, processor, cores, memory_mib } = report.host.clone();
    let rows = [
        ("seed", seed),
        ("version", report.version.to_owned()),
        ("commit", report.commit.to_owned()),
        ("began at", report.timestamp.clone()),
        ("system", system.unwrap_or_else(unknown)),
        ("processor", processor.unwrap_or_else(unknown)),
        ("cores", cores.map_or_else(unknown, |cores| cores.to_string())),
        ("memory", memory_mib.map_or_else(unknown, |mib| format!("{mib} MiB"))),
    ];
    html! {
        div.wide {
            table.provenance {
                caption { "Where this comes from" }
                @for (name, value) in &rows { tr { th scope="row" { (name) } td { (value) } } }
                @for server in &report.servers {
                    tr { th scope="row" { "server: " (server.backend) } td { (server.version) } }
                }
                @if report.servers.is_empty() {
                    tr { th scope="row" { "servers" } td { "unknown" } }
                }
            }
        }
    }
}

fn section(part: &Part) -> Markup {
    html! {
        section {
            h2 { (part.title) }
            (checks(&part.checks))
            @for table in &part.tables { (side_by_side(table)) }
            (figures(&part.figures))
            @for picture in &part.pictures { (card(picture)) }
        }
    }
}

fn checks(checks: &[Check]) -> Markup {
    html! {
        @if checks.is_empty() { p { "Nothing was expected of it." } } @else {
            ul.checks {
                @for Check { claim, seen, met } in checks {
                    @let word = match met {
                        Met::Yes => "as expected",
                        Met::No => "NOT as expected",
                        Met::Unknown => "not measured",
                    };
                    li class=(class(*met)) {
                        span.mark { (word) }
                        span { (claim) ": " (seen) }
                    }
                }
            }
        }
    }
}

fn side_by_side(table: &Table) -> Markup {
    let is_number: Vec<bool> = (0..table.columns.len()).map(|it| table.has_numbers(it)).collect();
    let class = |column: usize| is_number.get(column).filter(|it| **it).map(|_| "number");
    html! {
        div.wide {
            table {
                caption { (table.title) }
                thead {
                    tr {
                        @for (column, head) in table.columns.iter().enumerate() {
                            th scope="col" class=[class(column)] { (head) }
                        }
                    }
                }
                tbody {
                    @for row in &table.rows {
                        tr {
                            @for (column, cell) in row.iter().enumerate() {
                                @if column == 0 { th scope="row" { (cell) } }
                                @else { td class=[class(column)] { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn figures(figures: &[Figure]) -> Markup {
    let heads = ["median", "least", "most", "samples"];
    html! {
        @if !figures.is_empty() {
            div.wide {
                table {
                    caption { "What was measured" }
                    thead {
                        tr {
                            th scope="col" { "figure" }
                            th scope="col" { "unit" }
                            @for head in heads { th.number scope="col" { (head) } }
                        }
                    }
                    tbody {
                        @for figure in figures {
                            tr {
                                th scope="row" { (figure.name) }
                                td { (figure.unit) }
                                @for value in values(figure) { td.number { (value) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn values(figure: &Figure) -> [String; 4] {
    match Summary::of(&figure.samples) {
        None => ["unknown", "unknown", "unknown", "0"].map(str::to_owned),
        Some(Summary { least, median, most, count }) => {
            [short(median), short(least), short(most), count.to_string()]
        }
    }
}

fn card(picture: &Picture) -> Markup {
    html! {
        figure {
            figcaption { (draw::title(picture)) }
            @match draw::svg(picture) {
                Ok(svg) => div.card { (PreEscaped(svg)) },
                Err(error) => p { "It could not be drawn: " (error) },
            }
        }
    }
}

/// Everything that was recorded. Where a script is read, `<` could end it; in JSON it is only in
/// texts, which can name it otherwise.
fn raw(report: &Report) -> Markup {
    let json = serde_json::to_string(report).map(|json| json.replace('<', "\\u003c"));
    html! {
        details {
            summary { "Everything that was recorded, every sample included" }
            @match json {
                Ok(json) => {
                    p {
                        "This page carries the whole report as JSON, the same that "
                        code { "--json" } " prints. In the console of a browser, "
                        code { "JSON.parse(document.getElementById('report').textContent)" }
                        " gives it; in a file, it is the element "
                        code { "<script type=\"application/json\" id=\"report\">" } "."
                    }
                    script type="application/json" id="report" { (PreEscaped(json)) }
                }
                Err(error) => p { "It could not be written as JSON: " (error) },
            }
        }
    }
}

#[cfg(test)]
mod tests;
