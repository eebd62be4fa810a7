//! The page around the figures, including its style sheet and its script.

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use rusqlite::types::Value;
use serde_json::Value as Json;

use super::Manifests;
use super::charts::grouped;
use super::facts::Answer;
use super::figures::{Chart, Figure, Section};
use super::findings::{Finding, Verdict};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

pub(super) fn render(
    given: &Path,
    manifests: &Manifests,
    sections: &[Section],
    findings: &[Finding],
) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Browsers request an icon unless the page contains one.
                link rel="icon" href="data:,";
                title { "Playground report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Your data playground" }
                    p { (summary(manifests)) }
                    nav {
                        @for section in sections { a href=(format!("#{}", section.id)) { (section.title) } }
                        a href="#planted" { "Planted and found" }
                        a href="#queries" { "How to run the queries" }
                    }
                }
                main {
                    @for section in sections {
                        section id=(section.id) {
                            h2 { (section.title) }
                            div.figures { @for figure in &section.figures { (draw(figure)) } }
                        }
                    }
                    section id="planted" {
                        h2 { "Planted and found" }
                        (answer_key(findings))
                    }
                    section id="queries" {
                        h2 { "How to run the queries" }
                        (instructions(given))
                    }
                }
                footer {
                    p {
                        "Outlines of the regions: Natural Earth (public domain). Places of the towns: GeoNames, licensed under \
                         CC BY 4.0. People, orders and sessions are synthetic."
                    }
                }
                div #tip hidden {}
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// Summarizes the run in one paragraph.
fn summary(manifests: &Manifests) -> Markup {
    let Manifests {
        users,
        products,
        orders,
        stream,
        ..
    } = manifests;
    let count = |value: &Json| grouped(value.as_f64().unwrap_or(f64::NAN), 0);
    let day = |value: &Json| {
        value
            .as_str()
            .map_or(String::new(), |time| time.chars().take(10).collect())
    };
    html! {
        b { (count(&users["records"])) } " users, "
        b { (count(&products["records"])) } " products, "
        b { (count(&orders["totals"]["orders"])) } " orders with " b { (count(&orders["totals"]["items"])) } " items, and "
        b { (count(&stream["sessions"])) } " sessions with " b { (count(&stream["pageviews"])) } " pageviews from "
        time { (day(&stream["from"])) } " to before " time { (day(&stream["to"])) } ". Seed " (users["seed"]) ", profile "
        (stream["profile"].as_str().unwrap_or_default()) ", data version " (users["data_version"]) "."
    }
}

fn draw(figure: &Figure) -> Markup {
    let Chart {
        is_wide,
        broad,
        narrow,
    } = &figure.chart;
    html! {
        figure.page[*is_wide] {
            h3 { (figure.title) }
            p.look { (figure.look_for) }
            @if figure.answer.rows.is_empty() {
                p.look { "There are no such data in this playground." }
            } @else {
                @if let Some(narrow) = narrow {
                    div.broad { (broad) }
                    div.narrow { (narrow) }
                } @else {
                    (broad)
                }
            }
            details {
                summary { "Query and numbers" }
                (query(&figure.sql, &figure.answer))
            }
        }
    }
}

/// Shows a query, ready to be copied, and its answer.
fn query(sql: &str, answer: &Answer) -> Markup {
    html! {
        div.query {
            button type="button" { "Copy" }
            pre { code { (sql) ";" } }
        }
        div.rows {
            table.answer {
                thead { tr { @for column in &answer.columns { th { (column) } } } }
                tbody { @for row in &answer.rows { tr { @for value in row { td { (cell(value)) } } } } }
            }
        }
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(_) => "a BLOB".to_owned(),
    }
}

fn answer_key(findings: &[Finding]) -> Markup {
    let of = |verdict| {
        findings
            .iter()
            .filter(|finding| finding.verdict == verdict)
            .count()
    };
    html! {
        p.look {
            "Look for effects that were not found. Each line is an effect of the answer key, which is the member "
            code { "planted" } " of the manifests: what was planted, and what a query finds in the data. "
            b { (of(Verdict::Found)) } " are found, " b { (of(Verdict::NotFound)) } " are not found"
            @if of(Verdict::NonePlanted) > 0 { ", and " b { (of(Verdict::NonePlanted)) } " do not occur" }
            ". Effects of rare events are found in larger playgrounds only."
        }
        div.findings {
            @for finding in findings {
                @let (class, verdict) = match finding.verdict {
                    Verdict::Found => ("found", "found"),
                    Verdict::NotFound => ("not", "not found"),
                    Verdict::NonePlanted => ("none", "none planted"),
                };
                details data-kind=(finding.kind) data-effect=(finding.effect) data-count=(finding.count) data-verdict=(verdict) {
                    summary {
                        span.verdict.(class) { (verdict) }
                        span.effect { (finding.kind) ": " b { (finding.effect.replace('_', " ")) } }
                        span.planted { i { "planted" } " " (finding.planted) }
                        span.result { i { "found" } " " (finding.found) }
                    }
                    (query(&finding.sql, &finding.answer))
                }
            }
        }
    }
}

fn instructions(given: &Path) -> Markup {
    let load = format!(
        "python3 -m venv venv\nvenv/bin/pip install duckdb numpy\nvenv/bin/python docs/exercises/exercises.py load --dir {0}\n\
         venv/bin/python -c \"import duckdb; duckdb.connect('{0}/exercises.duckdb').sql('FROM orders LIMIT 5').show()\"",
        given.display()
    );
    html! {
        p {
            "The queries are written for " b { "DuckDB" } ". A database with their tables is made of this directory as \
             follows, in the directory of the source code; then open it using DuckDB's command line, its Python package or a \
             notebook."
        }
        div.query {
            button type="button" { "Copy" }
            pre { code { (load) } }
        }
        p {
            "Its tables are " code { "users" } ", " code { "vipusers" } ", " code { "products" } ", " code { "pages" } ", "
            code { "orders" } ", " code { "items" } ", " code { "pageviews" } " and " code { "stars" } " (without duplicates), "
            code { "pageview_messages" } " and " code { "star_messages" } " (as they arrived)."
        }
    }
}
