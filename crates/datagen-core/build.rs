//! Compiles the lists in `data/` into tables, so that the generators do not have to parse anything when they start.
//!
//! Short lists become constants in `tables.rs`; long lists become bytes that it includes (see `output`). Weights
//! become Walker alias tables, computed in exact integer arithmetic. Sentences are expanded with all fillers of their
//! slots (see `grammar`).

#[path = "build/grammar.rs"]
mod grammar;
#[path = "build/input.rs"]
mod input;
#[path = "build/network.rs"]
mod network;
#[path = "build/occupations.rs"]
mod occupations;
#[path = "build/output.rs"]
mod output;
#[path = "build/people.rs"]
mod people;
#[path = "build/places.rs"]
mod places;
#[path = "build/shelves.rs"]
mod shelves;

use input::{column, read, texts};
use output::Output;

/// The ages that users can have.
const AGES: std::ops::RangeInclusive<u64> = 18..=90;

fn main() {
    println!("cargo::rerun-if-changed=data");
    let mut out = Output::default();

    // Surnames come first, because they must be at the beginning of the pool.
    people::surnames(&mut out);
    let regions = read("regions", 3);
    let municipalities = places::municipalities(&mut out, &regions);
    places::streets(&mut out, &municipalities);
    places::phones(&mut out, &regions);
    people::ages(&mut out);
    people::given_names(&mut out);
    let fields = read("fields", 4);
    let rows = occupations::occupations(&mut out, &fields);
    occupations::titles(&mut out, &rows);
    grammar::compile(&mut out, &regions, &fields);
    shelves::shelves(&mut out);
    out.strings("WORDS", texts(&read("words", 2), 0));
    network::user_agents(&mut out);
    network::homes(&mut out);
    turnovers(&mut out);

    out.write();
}

/// The turnover of Czech online shops by year.
fn turnovers(out: &mut Output) {
    let turnovers = read("ecommerce_turnover", 2);
    let years = column(&turnovers, 0);
    assert!(
        years.is_sorted_by(|year, next| year + 1 == *next),
        "ecommerce_turnover: a year is missing"
    );
    out.numbers("TURNOVER_YEARS", "u16", years);
    out.numbers("TURNOVERS", "u16", column(&turnovers, 1));
}
