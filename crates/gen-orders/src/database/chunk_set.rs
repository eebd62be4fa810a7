//! A set of chunks, in memory that does not grow with their number.

use std::ops::Range;

/// Numbers of chunks, kept as ranges: chunks are loaded nearly in order, so there are few gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkSet {
    /// Sorted; none is empty, and none begins where another ends.
    ranges: Vec<Range<u64>>,
}

impl ChunkSet {
    /// Adds a chunk that is above all others.
    pub fn push(&mut self, chunk: u64) {
        match self.ranges.last_mut() {
            Some(last) if last.end == chunk => last.end += 1,
            _ => self.ranges.push(chunk..chunk + 1),
        }
    }

    pub fn contains(&self, chunk: u64) -> bool {
        let next = self.ranges.partition_point(|range| range.end <= chunk);
        self.ranges.get(next).is_some_and(|range| range.contains(&chunk))
    }

    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns the chunks as ranges, in order.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_chunks_are_as_many_ranges_as_there_are_gaps() {
        let mut set = ChunkSet::default();
        assert!(set.is_empty() && !set.contains(0));
        let missing = [0, 500, 501, 999_999];
        (0..1_000_000)
            .filter(|chunk| !missing.contains(chunk))
            .for_each(|chunk| set.push(chunk));
        assert_eq!(set.ranges(), [1..500, 502..999_999]);
        assert_eq!(set.len(), 999_996);
        assert!(missing.iter().all(|chunk| !set.contains(*chunk)));
        assert!([1, 499, 502, 999_998].iter().all(|chunk| set.contains(*chunk)));
        assert!(!set.contains(u64::MAX));
    }
}
