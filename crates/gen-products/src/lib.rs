//! Fills a data lake with products, one JSON file per product: `products/product_{id}.json`.

use std::sync::Arc;

use bytes::Bytes;
use datagen_core::model::planted;
use datagen_core::model::product::{ProductName, Products};
use datagen_core::text::TextBuf;
use datagen_core::world::Catalogue;
use datagen_lake::config::LakeConfig;
use datagen_lake::{self as lake, Lake, LakePath, Total, Writer};
use datagen_process::error::{DestinationError, RunError};
use datagen_process::generator::{Context, Generator};
use datagen_process::manifest::{Files, FilesDigest, Manifest};
use datagen_process::pace::Pace;
use datagen_process::progress::{Progress, Work};
use datagen_process::sample::Sample;
use datagen_process::shard::Shard;
use datagen_settings::catalog::{self, FiniteSettings, ProductSettings};
use datagen_settings::{ConfigurationErrors, Environment};
use tokio::task::JoinSet;

/// The folder of the products.
const FOLDER: &str = "products";

/// The generator of products.
#[derive(Debug)]
pub struct GenProducts {
    count: u64,
    rate: f64,
    seed: u64,
    lake: LakeConfig,
}

impl Generator for GenProducts {
    const SETTINGS: catalog::GeneratorSettings = catalog::GEN_PRODUCTS;
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = env!("CARGO_PKG_DESCRIPTION");

    fn configure(environment: &Environment, problems: &mut ConfigurationErrors) -> Option<Self> {
        let FiniteSettings { seed } = environment.read(problems);
        let ProductSettings { count, rate } = environment.read(problems);
        Some(Self {
            count,
            rate,
            seed,
            lake: LakeConfig::read(environment, problems)?,
        })
    }

    fn sample(environment: &Environment, shard: Shard, problems: &mut ConfigurationErrors) -> Option<Sample> {
        let FiniteSettings { seed } = environment.read(problems);
        let ProductSettings { count, .. } = environment.read(problems);
        let products = Products::new(seed, count);
        Some(Sample::of_ids(shard.range(count), move |id, out| {
            products.get(id).write_json_line(out);
        }))
    }

    async fn run(self, context: Context) -> Result<(), RunError> {
        let writer = Writer::new(Self::SETTINGS.name, context.common.shard);
        let write = async |lake| Ok(self.write_all(&lake, &context).await?);
        lake::session(&self.lake, writer, &context.shutdown, write).await
    }
}

impl GenProducts {
    /// Writes this shard's products, and then their manifest.
    async fn write_all(&self, lake: &Arc<dyn Lake>, context: &Context) -> Result<(), DestinationError> {
        let shard = context.common.shard;
        let ids = shard.range(self.count);
        let work = Work {
            kind: FOLDER,
            records: ids.end - ids.start,
            destination: lake.describe(FOLDER),
            seed: self.seed,
            shard,
        };
        work.announce(&context.bar);
        let consequence = "a reader of the manifests counts every product more than once";
        lake::splits::warn_of_other_splits(&**lake, FOLDER, shard, consequence).await?;
        let (progress, ticker) = Progress::start(&context.bar, work);
        let files = self.write(lake, ids.clone(), &progress).await?;
        drop(ticker);
        // All products exist and are durable before the manifest says so.
        lake.sync().await?;
        let expected = Total {
            files: ids.end - ids.start,
            bytes: files.bytes,
        };
        let own = ids.clone();
        let select = move |name: &str| {
            ProductName::from_file_name(name).is_some_and(|product| own.contains(&product.0))
        };
        lake::verify::folder(&**lake, FOLDER, Box::new(select), expected).await?;
        let planted = planted::products(&Catalogue::new(self.count), ids.clone());
        let part = (shard, ids);
        let manifest = Manifest::new(FOLDER, Self::VERSION, self.seed, self.count, part, planted, files);
        let path = LakePath::manifest(FOLDER, shard.file_name(FOLDER));
        lake::write_manifest(&**lake, &path, manifest.to_json()).await?;
        progress.summarize();
        Ok(())
    }

    /// Writes the products `ids`, several at a time.
    async fn write(
        &self,
        lake: &Arc<dyn Lake>,
        ids: std::ops::Range<u64>,
        progress: &Progress,
    ) -> Result<Files, DestinationError> {
        let products = Products::new(self.seed, self.count);
        let mut pace = Pace::new(self.rate);
        let mut digest = FilesDigest::default();
        let mut buffer = TextBuf::default();
        let mut in_progress = JoinSet::new();
        let files_per_put = if self.rate > 0.0 { 1 } else { lake.files_per_put() };
        for first in ids.clone().step_by(files_per_put) {
            let group = first..ids.end.min(first + files_per_put as u64);
            let count = group.end - group.start;
            pace.wait(count).await;
            let make = |id| {
                buffer.clear();
                products.get(id).write_json_line(&mut buffer);
                digest.update(buffer.as_bytes());
                let path = LakePath::data(FOLDER, ProductName(id).file_name());
                (path, Bytes::copy_from_slice(buffer.as_bytes()))
            };
            let files: Vec<_> = group.map(make).collect();
            if in_progress.len() >= lake.puts_in_flight() {
                finished(&mut in_progress).await?;
            }
            let (lake, progress) = (Arc::clone(lake), progress.clone());
            in_progress.spawn(async move {
                let bytes = files.iter().map(|(_, contents)| contents.len() as u64).sum();
                lake.put_all(files).await?;
                progress.add(count, bytes);
                Ok(())
            });
        }
        while !in_progress.is_empty() {
            finished(&mut in_progress).await?;
        }
        Ok(digest.finish(format!("{FOLDER}/product_{{id}}.json")))
    }
}

/// Waits until one of the files in progress is written.
async fn finished(in_progress: &mut JoinSet<Result<(), DestinationError>>) -> Result<(), DestinationError> {
    match in_progress.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        None => Ok(()),
    }
}
