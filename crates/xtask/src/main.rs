//! Development tasks of this workspace, run by `cargo xtask`:
//!
//! - [`playground`]: builds the four generators and fills a directory with data to query;
//! - [`docs`]: writes the texts that are generated from the declaration of settings;
//! - [`mod@bench`]: times the generators against peers, pair by pair, and prints ratios.

mod bench;
mod build;
mod docs;
mod playground;

use clap::Parser;

/// Development tasks of the dataplayground generators.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum XtaskCommand {
    /// Build the generators and fill ./playground with data to query: no cloud, no containers.
    Playground(playground::PlaygroundArgs),
    /// Write docs/settings.md and .env.example, which are generated from the declaration of settings.
    Docs(docs::DocsArgs),
    /// Print all settings as JSON.
    Settings,
    /// Time the generators against peers and print the ratios.
    Bench(bench::BenchArgs),
}

fn main() -> anyhow::Result<()> {
    match XtaskCommand::parse() {
        XtaskCommand::Playground(options) => playground::run(&options),
        XtaskCommand::Docs(options) => docs::run(&options),
        XtaskCommand::Settings => docs::print_settings(),
        XtaskCommand::Bench(options) => bench::run(&options),
    }
}
