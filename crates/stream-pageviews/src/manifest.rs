//! A summary of what a stream has sent, written when it ends: a manifest beside the files, or a line of the log.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use datagen_core::model::planted::{Effect, PlantedSessions};
use datagen_core::model::{DATA_VERSION, Profile};
use datagen_process::error::DestinationError;
use datagen_process::file_system::{create_directory, sync_directory};
use datagen_process::shard::Shard;
use datagen_settings::value::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::StreamConfig;
use crate::message::Topic;
use crate::schedule::StreamPlan;
use crate::sink::Delivery;

/// The directory for manifests, in the directory of the files.
const DIRECTORY: &str = "_datagen";

/// The kind of the manifest, and the first part of its file name.
const KIND: &str = "stream";

/// A description of what one run of one shard has sent.
#[derive(Clone, Debug, Serialize)]
pub struct StreamManifest {
    kind: &'static str,
    /// The version of the program.
    version: &'static str,
    /// The version of the data format.
    data_version: u32,
    seed: u64,
    profile: Profile,
    shard: Shard,
    /// The first part of all ids of the stream.
    tag: String,
    /// STREAM_FROM, or the time of the start.
    from: String,
    /// STREAM_TO.
    to: Option<String>,
    concurrent_users: u32,
    /// Sessions whose first message was sent.
    sessions: u64,
    /// Messages sent, by topic.
    pageviews: u64,
    stars: u64,
    /// Bytes of their bodies.
    bytes: u64,
    delivered: u64,
    lost: u64,
    /// The answer key: what was planted in the messages that were sent.
    planted: Vec<Effect>,
}

/// The part of an earlier run's manifest that shows whether the run had the same sessions.
#[derive(Debug, Deserialize)]
struct Earlier {
    seed: u64,
    profile: Profile,
    tag: String,
}

impl StreamManifest {
    /// Describes a run that has sent `sessions` and the messages that `delivery` counts.
    pub fn new(
        config: &StreamConfig,
        plan: &StreamPlan,
        shard: Shard,
        seed: u64,
        sessions: u64,
        delivery: &Delivery,
    ) -> Self {
        let text = |millis: u64| Timestamp::of_millis(millis).to_string();
        Self {
            kind: KIND,
            version: env!("CARGO_PKG_VERSION"),
            data_version: DATA_VERSION,
            seed,
            profile: config.events.profile,
            shard,
            tag: plan.tag.text(),
            from: text(plan.start_ms),
            to: plan.end_ms.map(text),
            concurrent_users: config.events.concurrent_users,
            sessions,
            pageviews: delivery.taken[Topic::Pageviews as usize],
            stars: delivery.taken[Topic::Stars as usize],
            bytes: delivery.bytes,
            delivered: delivery.delivered,
            lost: delivery.lost,
            planted: PlantedSessions::new(&plan.sessions, plan.faults).effects(&delivery.planted),
        }
    }

    /// Logs the manifest as JSON in one line.
    pub fn log(&self) {
        let manifest = serde_json::to_string(self).expect("manifests have only text keys");
        tracing::info!(%manifest, "manifest");
    }

    /// Writes the manifest into `directory`, beside the files. An earlier manifest is replaced.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, directory: &Path) -> Result<(), DestinationError> {
        let path = path(directory, self.shard);
        let failed = |error: io::Error| DestinationError::io(&path, &error);
        let directory = directory.join(DIRECTORY);
        create_directory(&directory)?;
        let mut json = serde_json::to_vec_pretty(self).expect("manifests have only text keys");
        json.push(b'\n');
        let temporary = path.with_extension(format!("json.{}", std::process::id()));
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&json)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|error| {
            // The first error is the one to report.
            let _ = fs::remove_file(&temporary);
            failed(error)
        })?;
        sync_directory(&directory)
    }
}

/// Returns the path of the manifest of `shard`.
fn path(directory: &Path, shard: Shard) -> PathBuf {
    directory.join(DIRECTORY).join(shard.file_name(KIND))
}

/// Warns if the manifest of an earlier run into `directory` shows that it had the sessions of `seed`, which this run
/// would send again.
pub fn warn_of_repetition(
    directory: &Path,
    config: &StreamConfig,
    plan: &StreamPlan,
    shard: Shard,
    seed: u64,
) {
    // An absent or unrelated file says nothing about earlier runs.
    let Some(earlier) = fs::read(path(directory, shard))
        .ok()
        .and_then(|json| serde_json::from_slice::<Earlier>(&json).ok())
    else {
        return;
    };
    let directory = directory.display();
    if earlier.tag == plan.tag.text() {
        tracing::warn!(
            "{directory} has this very stream already: the same events are appended again, with the same event_id"
        );
    } else if (earlier.seed, earlier.profile) == (seed, config.events.profile) {
        tracing::warn!(
            "{directory} has sessions of SEED={seed} already: the same sessions are appended again, at other times; unset \
             SEED, or give another directory"
        );
    }
}
