//! Fills a data lake with users (`users/users.json`) and VIP users (`vipusers/vipusers.json`), one JSON object per line.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

use datagen_core::model::planted::{self, Effect};
use datagen_core::model::user::{self, Users};
use datagen_core::model::vip::{self, Vips};
use datagen_core::text::TextBuf;
use datagen_core::world::Population;
use datagen_lake::config::LakeConfig;
use datagen_lake::{self as lake, Lake, LakePath, UploadError, Writer};
use datagen_process::chunks;
use datagen_process::error::{DestinationError, RunError};
use datagen_process::generator::{Context, Generator};
use datagen_process::manifest::{FilesDigest, Manifest};
use datagen_process::progress::{Bar, Progress, Work};
use datagen_process::sample::Sample;
use datagen_process::shard::Shard;
use datagen_settings::catalog::{self, DEFAULT_VIPS, FiniteSettings, UserSettings};
use datagen_settings::{ConfigurationErrors, Environment};

/// The size of all blocks of users together, in bytes. It keeps the process below 128 MiB with any number of
/// processors. A dozen threads generate more than any network can transfer.
const MEMORY: usize = 96 << 20;

/// The generator of users and VIP users.
#[derive(Debug)]
pub struct GenUsers {
    records: Records,
    threads: NonZeroUsize,
    lake: LakeConfig,
}

/// The numbers of users and VIP users, and their seed.
#[derive(Clone, Copy, Debug)]
struct Records {
    count: u64,
    vip_count: u64,
    seed: u64,
}

impl Records {
    /// Validates the settings that the records depend on.
    fn new(settings: &UserSettings, environment: &Environment, problems: &mut ConfigurationErrors) -> Self {
        let FiniteSettings { seed } = environment.read(problems);
        let UserSettings { count, vip_count, .. } = *settings;
        if let Some(vips) = vip_count
            && vips > count
            && !problems.concern(&UserSettings::COUNT)
        {
            problems.report(
                &UserSettings::VIP_COUNT,
                format_args!("is {vips}, more than the {count} users of COUNT: give 0 to {count}"),
            );
        }
        Self {
            count,
            vip_count: vip_count.unwrap_or(count.min(DEFAULT_VIPS)),
            seed,
        }
    }
}

impl Generator for GenUsers {
    const SETTINGS: catalog::GeneratorSettings = catalog::GEN_USERS;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = env!("CARGO_PKG_DESCRIPTION");

    fn configure(environment: &Environment, problems: &mut ConfigurationErrors) -> Option<Self> {
        let settings: UserSettings = environment.read(problems);
        let records = Records::new(&settings, environment, problems);
        let threads = settings
            .threads
            .and_then(|threads| NonZeroUsize::new(threads as usize));
        Some(Self {
            records,
            threads: threads
                .unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)),
            lake: LakeConfig::read(environment, problems)?,
        })
    }

    fn sample(environment: &Environment, shard: Shard, problems: &mut ConfigurationErrors) -> Option<Sample> {
        let settings: UserSettings = environment.read(problems);
        let Records { count, seed, .. } = Records::new(&settings, environment, problems);
        let users = Users::new(seed, count);
        Some(Sample::of_ids(shard.range(count), move |id, out| {
            users.get(id).write_json_line(out);
        }))
    }

    async fn run(self, context: Context) -> Result<(), RunError> {
        let writer = Writer::new(Self::SETTINGS.name, context.common.shard);
        let write = async |lake: Arc<dyn Lake>| self.write_both(&*lake, &context).await;
        lake::session(&self.lake, writer, &context.shutdown, write).await
    }
}

/// A kind of record that is one line of one file.
#[derive(Clone, Copy)]
struct Lines {
    folder: &'static str,
    count: u64,
    /// The average size of a line.
    expected_bytes: usize,
    /// Returns what is planted in a range of lines.
    planted: fn(&Population, Range<u64>) -> Vec<Effect>,
}

impl Lines {
    /// Returns the approximate size of a shard's file in bytes.
    fn bytes(self, shard: Shard) -> u64 {
        let ids = shard.range(self.count);
        (ids.end - ids.start) * self.expected_bytes as u64
    }
}

impl GenUsers {
    /// Writes this shard's users and VIP users.
    async fn write_both(&self, lake: &dyn Lake, context: &Context) -> Result<(), RunError> {
        let users = Users::new(self.records.seed, self.records.count);
        let encode_user = move |id, out: &mut TextBuf| users.get(id).write_json_line(out);
        let of_users = Lines {
            folder: "users",
            count: self.records.count,
            expected_bytes: user::EXPECTED_BYTES,
            planted: planted::users,
        };
        let vips = Vips::new(self.records.count);
        let encode_vip = move |index, out: &mut TextBuf| vips.write_json_line(index, out);
        let of_vips = Lines {
            folder: "vipusers",
            count: self.records.vip_count,
            expected_bytes: vip::EXPECTED_BYTES,
            planted: |_, ranks| planted::vips(ranks),
        };
        // VIP users that fit into one block need little memory but several round trips, so they are written at the same
        // time as the users, without a progress bar.
        let vips_are_few = of_vips.bytes(context.common.shard) <= lake.blocks(0).bytes as u64;
        if vips_are_few {
            let unseen = context.bar.hidden_beside();
            // The first error cancels the other write, which would be useless.
            tokio::try_join!(
                self.write(lake, context, &context.bar, of_users, encode_user),
                self.write(lake, context, &unseen, of_vips, encode_vip),
            )?;
            return Ok(());
        }
        self.write(lake, context, &context.bar, of_users, encode_user)
            .await?;
        self.write(lake, context, &context.bar, of_vips, encode_vip).await
    }

    /// Writes this shard's file of a kind and, after it, its manifest.
    async fn write(
        &self,
        lake: &dyn Lake,
        context: &Context,
        bar: &Bar,
        lines: Lines,
        encode: impl Fn(u64, &mut TextBuf) + Clone + Send + Sync + 'static,
    ) -> Result<(), RunError> {
        let Lines { folder, count, .. } = lines;
        let shard = context.common.shard;
        let ids = shard.range(count);
        let file_name = shard.file_name(folder);
        let path = LakePath::data(folder, file_name.as_str());
        let work = Work {
            kind: folder,
            records: ids.end - ids.start,
            destination: lake.describe(&path.to_string()),
            seed: self.records.seed,
            shard,
        };
        work.announce(bar);
        let consequence = "a reader of the folder reads every record more than once";
        lake::splits::warn_of_other_splits(lake, folder, shard, consequence).await?;
        let (progress, ticker) = Progress::start(bar, work);
        let mut digest = self
            .write_file(lake, &path, ids.clone(), lines, encode.clone(), &progress)
            .await;
        if let Err(UploadError::Lost(error)) = &digest {
            tracing::warn!("writing the file again from its beginning after: {error}");
            digest = self
                .write_file(lake, &path, ids.clone(), lines, encode, &progress)
                .await;
        }
        let files = digest?.finish(format!("{folder}/{file_name}"));
        drop(ticker);
        lake::verify::file(lake, &path, files.bytes).await?;

        let planted = (lines.planted)(&Population::new(self.records.count), ids.clone());
        let part = (shard, ids);
        let manifest = Manifest::new(
            folder,
            Self::VERSION,
            self.records.seed,
            count,
            part,
            planted,
            files,
        );
        let path = LakePath::manifest(folder, file_name);
        lake::write_manifest(lake, &path, manifest.to_json()).await?;
        progress.summarize();
        Ok(())
    }

    /// Writes the lines `ids` to the file at `path`.
    async fn write_file(
        &self,
        lake: &dyn Lake,
        path: &LakePath,
        ids: Range<u64>,
        lines: Lines,
        encode: impl Fn(u64, &mut TextBuf) + Send + Sync + 'static,
        progress: &Progress,
    ) -> Result<FilesDigest, UploadError> {
        let expected_bytes = lines.expected_bytes;
        let blocks = lake.blocks((ids.end - ids.start) * expected_bytes as u64);
        let plan = chunks::BlockPlan {
            ids,
            ids_per_block: (blocks.bytes / expected_bytes).max(1) as u64,
            threads: self.threads,
            held_by_consumer: blocks.in_flight + 1,
            expected_bytes: blocks.bytes + blocks.bytes / 16,
            memory: MEMORY,
        };
        let mut file = lake.create(path).await?;
        let mut digest = FilesDigest::default();
        let encode = move |ids: Range<u64>, out: &mut TextBuf| ids.for_each(|id| encode(id, out));
        let mut made = chunks::start(plan, encode).map_err(|error| {
            DestinationError::permanent("this machine", format!("a thread could not be started ({error})"))
                .advise("raise the limit of processes (ulimit -u, the container's pids)")
                .caused_by(error)
        })?;
        progress.reset();
        while let Some(block) = made.next().await {
            let bytes = block.bytes.len() as u64;
            digest.update(&block.bytes);
            file.append(block.bytes).await?;
            progress.add(block.ids.end - block.ids.start, bytes);
        }
        file.publish().await?;
        Ok(digest)
    }
}
