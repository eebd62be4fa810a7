//! The description of what was written, for consumers: a manifest under `_datagen/` next to the data.
//!
//! A manifest is published after the data that it describes. It contains nothing that differs between two runs with the
//! same configuration: no time, no duration, no host.

use bytes::Bytes;
use serde::Serialize;
use xxhash_rust::xxh3::Xxh3Default;

use crate::shard::Shard;
use datagen_core::model::DATA_VERSION;
use datagen_core::model::planted::Effect;

/// The description of one shard's data of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Manifest<'a, T: Serialize> {
    /// `users`, `vipusers`, `products`, `orders`.
    pub kind: &'a str,
    /// The version of the program that wrote it.
    pub version: &'a str,
    /// The version of the data format: equal versions and seeds have equal bytes.
    pub data_version: u32,
    /// SEED.
    pub seed: u64,
    /// The number of records of all shards.
    pub count: u64,
    /// The shard that this part belongs to.
    pub shard: Shard,
    /// The first id of this part.
    pub first_id: u64,
    /// The number of records in this part.
    pub records: u64,
    /// The answer key: the effects that this part contains.
    pub planted: Vec<Effect>,
    /// Further values to check the data against.
    #[serde(flatten)]
    pub contents: T,
}

impl<'a, T: Serialize> Manifest<'a, T> {
    /// Describes records `ids` of `kind`.
    pub fn new(
        kind: &'a str,
        version: &'a str,
        seed: u64,
        count: u64,
        (shard, ids): (Shard, std::ops::Range<u64>),
        planted: Vec<Effect>,
        contents: T,
    ) -> Self {
        let records = ids.end - ids.start;
        Self {
            kind,
            version,
            data_version: DATA_VERSION,
            seed,
            count,
            shard,
            first_id: ids.start,
            records,
            planted,
            contents,
        }
    }

    /// Returns the manifest as indented JSON with a final line feed.
    pub fn to_json(&self) -> Bytes {
        let mut json = serde_json::to_vec_pretty(self).expect("manifests have only text keys");
        json.push(b'\n');
        json.into()
    }
}

/// Values to check files against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Where they are, relative to the lake's root: a path, or a pattern with `{id}`.
    pub path: String,
    /// The size of all files together, in bytes.
    pub bytes: u64,
    /// The digest of the files' bytes in the order of ids.
    pub digest: Digest,
}

/// A checksum and how it was computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Digest {
    /// `xxh3-128`, which `xxh128sum` computes. It detects files that were damaged or cut off, not files that an attacker changed.
    pub algorithm: &'static str,
    /// Its hexadecimal digits.
    pub hex: String,
}

/// Computes the checks while the files are made.
#[derive(Clone, Default)]
pub struct FilesDigest {
    bytes: u64,
    hasher: Xxh3Default,
}

impl FilesDigest {
    /// Takes the next bytes, in the order of ids.
    pub fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hasher.update(bytes);
    }

    /// Returns the checks for files at `path`.
    pub fn finish(self, path: impl Into<String>) -> Files {
        Files {
            path: path.into(),
            bytes: self.bytes,
            digest: Digest {
                algorithm: "xxh3-128",
                hex: format!("{:032x}", self.hasher.digest128()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_flat_json() {
        let mut digest = FilesDigest::default();
        digest.update(b"a");
        digest.update(b"bc");
        let shard = Shard { index: 1, count: 2 };
        let files = digest.finish("users/users-00001-of-00002.json");
        let planted = vec![Effect {
            effect: "vip",
            parameters: serde_json::json!({"counted": "users"}),
            count: 3,
        }];
        let json = Manifest::new("users", "1.2.3", 7, 10, (shard, 5..10), planted, files).to_json();
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let expected = serde_json::json!({
            "kind": "users", "version": "1.2.3", "data_version": DATA_VERSION, "seed": 7, "count": 10,
            "shard": {"index": 1, "count": 2}, "first_id": 5, "records": 5,
            "path": "users/users-00001-of-00002.json", "bytes": 3,
            "planted": [{"effect": "vip", "parameters": {"counted": "users"}, "count": 3}],
            "digest": {
                "algorithm": "xxh3-128",
                "hex": "06b05ab6733a618578af5f94892f3950",
            },
        });
        assert_eq!(value, expected);
    }
}
