//! How the work is split among processes: contiguous ranges of ids.

use std::fmt;
use std::ops::Range;

/// This process's part of the work: `index` of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shard {
    /// 0-based.
    pub index: u32,
    /// At least 1.
    pub count: u32,
}

impl Shard {
    /// The whole work in one process.
    pub const WHOLE: Shard = Shard { index: 0, count: 1 };

    /// Returns whether there is a single shard.
    pub fn is_whole(self) -> bool {
        self.count == 1
    }

    /// Returns this shard's part of `0..total`. The shards' ranges follow each other without a gap and differ in length
    /// by at most one; some are empty if there are more shards than ids.
    pub fn range(self, total: u64) -> Range<u64> {
        let bound = |index: u32| {
            (u128::from(total) * u128::from(index) / u128::from(self.count))
                .try_into()
                .expect("a part of a u64 is a u64")
        };
        bound(self.index)..bound(self.index + 1)
    }

    /// Returns the name of this shard's file of a kind: `users.json`, or `users-00002-of-00007.json` when the work is
    /// split.
    pub fn file_name(self, stem: &str) -> String {
        if self.is_whole() {
            format!("{stem}.json")
        } else {
            format!("{stem}-{self}.json")
        }
    }

    /// Returns the shard whose [`file_name`](Self::file_name) of a kind is `name`.
    pub fn from_file_name(stem: &str, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(stem)?.strip_suffix(".json")?;
        let shard = match rest.strip_prefix('-') {
            Some(split) => {
                let (index, count) = split.split_once("-of-")?;
                Self {
                    index: index.parse().ok()?,
                    count: count.parse().ok()?,
                }
            }
            None => Self::WHOLE,
        };
        (shard.file_name(stem) == name).then_some(shard)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:05}-of-{:05}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_every_id_once_and_evenly() {
        for total in [0, 1, 6, 7, 8, 1_000, u64::MAX] {
            for count in [1, 2, 7, 1_000] {
                let ranges: Vec<_> = (0..count)
                    .map(|index| Shard { index, count }.range(total))
                    .collect();
                assert_eq!(ranges[0].start, 0);
                assert_eq!(ranges.last().unwrap().end, total);
                assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
                let lengths = || ranges.iter().map(|range| range.end - range.start);
                assert!(lengths().max().unwrap() - lengths().min().unwrap() <= 1);
            }
        }
    }

    #[test]
    fn file_names() {
        assert_eq!(Shard::WHOLE.file_name("users"), "users.json");
        assert_eq!(
            Shard { index: 2, count: 7 }.file_name("users"),
            "users-00002-of-00007.json"
        );
        for shard in [Shard::WHOLE, Shard { index: 2, count: 7 }] {
            assert_eq!(
                Shard::from_file_name("users", &shard.file_name("users")),
                Some(shard)
            );
        }
        for name in [
            "users",
            "vipusers.json",
            "users-2-of-7.json",
            "users-00000-of-00001.json",
            "users-x.json",
        ] {
            assert_eq!(Shard::from_file_name("users", name), None, "{name}");
        }
    }
}
