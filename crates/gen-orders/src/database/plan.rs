//! What a run does with the tables that it finds in a database: continue them, create them, replace them, or refuse
//! them because gen-orders did not create them.

use datagen_process::error::DestinationError;

use super::Prepared;
use crate::rows::TABLES;
use crate::run::Run;

/// The table that marks the others as created by gen-orders. It has one row: the parameters of the run that
/// the tables were created for, and its orders per chunk.
pub(super) const RUN_TABLE: &str = "_datagen_run";

/// The row of [`RUN_TABLE`].
#[derive(Clone, Debug)]
pub(super) struct StoredRun {
    /// As JSON.
    pub(super) parameters: String,
    pub(super) chunk_orders: u32,
}

/// What to do before the first chunk.
#[derive(Debug)]
pub(super) enum TablePlan {
    /// All tables exist and belong to this run.
    Continue(Prepared),
    /// None of the tables exists.
    Create,
    /// The tables belong to another run, or are not complete: all of them are dropped and created again.
    Replace(Replaced),
}

/// What is known about the tables that a run replaces.
#[derive(Debug)]
pub(super) struct Replaced {
    stored: Option<String>,
    missing: Option<&'static str>,
}

/// A table or view that gen-orders did not create has the name of one of its tables.
#[derive(Debug)]
pub(super) struct ForeignTableError(&'static str);

/// Decides what `run` does. `tables` are the names of all tables that it needs, and `exists` says which of them the
/// database has. `stored` is the row of [`RUN_TABLE`]. Without that table, gen-orders has created none of the others.
pub(super) fn plan(
    run: &Run,
    tables: &[&'static str],
    exists: impl Fn(&str) -> bool,
    stored: Option<StoredRun>,
) -> Result<TablePlan, ForeignTableError> {
    if !exists(RUN_TABLE) {
        let foreign = tables.iter().find(|table| exists(table));
        return foreign.map_or(Ok(TablePlan::Create), |table| Err(ForeignTableError(table)));
    }
    let missing = tables.iter().find(|table| !exists(table)).copied();
    let continued = stored.as_ref().and_then(|stored| {
        let parameters = run.continued(&stored.parameters)?;
        (stored.chunk_orders > 0).then(|| Prepared {
            stored: stored.parameters.as_str().into(),
            parameters,
            chunk_orders: stored.chunk_orders,
        })
    });
    Ok(match continued {
        Some(prepared) if missing.is_none() => TablePlan::Continue(prepared),
        _ => TablePlan::Replace(Replaced {
            stored: stored.map(|stored| stored.parameters),
            missing,
        }),
    })
}

impl Replaced {
    /// Logs which tables are about to be dropped in `destination`, and the parameters of both runs.
    pub(super) fn warn(&self, destination: &str, run: &Run) {
        let names = TABLES.map(|table| table.name);
        let names = names.join(" and ");
        let replaced = self.stored.as_deref().unwrap_or("unknown");
        let by = run.parameters.to_json();
        match self.missing {
            Some(missing) => tracing::warn!(
                %replaced,
                %by,
                "{destination}: dropping the tables {names} of an earlier run and creating them again, \
                 because the table {missing} is missing"
            ),
            None => tracing::warn!(
                %replaced,
                %by,
                "{destination}: dropping the tables {names} of another run, with all their rows"
            ),
        }
    }
}

impl ForeignTableError {
    /// Returns the error of the run. In messages about `destination`, `prefix` precedes the name of the table.
    pub(super) fn describe(&self, destination: &str, prefix: &str) -> DestinationError {
        let problem = format!(
            "{prefix}{} exists already, but gen-orders did not create it",
            self.0
        );
        DestinationError::permanent(destination, problem)
            .advise("drop or rename it, or give another database")
    }
}
