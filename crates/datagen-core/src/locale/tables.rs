//! The lists of `data/` as constants and bytes, made by the build script, and how they are read.

use crate::text::Cursor;

/// Texts that lie without gaps in memory; the longest has at most `N` bytes.
///
/// Writing one copies `N` bytes, a number known at compile time, and advances by its real length.
#[derive(Debug)]
pub(crate) struct Texts<const N: usize> {
    /// The texts, and `N` bytes more, so that `N` bytes can be copied from wherever a text begins.
    bytes: &'static [u8],
    /// Four bytes per text, little-endian: the upper three are where it begins, the lowest is its length.
    index: &'static [u8],
}

impl<const N: usize> Texts<N> {
    /// Wraps what the build script made.
    const fn new(bytes: &'static [u8], index: &'static [u8]) -> Self {
        Self { bytes, index }
    }

    /// How many texts there are.
    pub(crate) const fn len(&self) -> usize {
        self.index.len() / 4
    }

    /// Where a text begins, and its length.
    #[inline(always)]
    fn place(&self, number: usize) -> (usize, usize) {
        let entry = word(self.index, number) as usize;
        (entry >> 8, entry & 0xff)
    }

    /// Appends a text.
    #[inline(always)]
    pub(crate) fn write(&self, number: usize, out: &mut Cursor<'_>) {
        let (start, len) = self.place(number);
        out.push_padded::<N>(&self.bytes[start..], len);
    }

    /// The first byte of a text.
    #[inline]
    pub(crate) fn first_byte(&self, number: usize) -> u8 {
        self.bytes[self.place(number).0]
    }

    /// A text.
    pub(crate) fn get(&self, number: usize) -> &'static str {
        let (start, len) = self.place(number);
        std::str::from_utf8(&self.bytes[start..start + len]).expect("the build script writes UTF-8")
    }
}

/// Lists of weighted values: Walker alias tables, one random word per draw.
#[derive(Debug)]
pub(crate) struct Choices {
    /// Eight bytes per list, little-endian: the number of its first slot and how many it has.
    lists: &'static [u8],
    /// Eight bytes per slot, little-endian: the threshold, the value if the low half of the random word is below it, and
    /// the value otherwise.
    slots: &'static [u8],
}

impl Choices {
    /// Wraps what the build script made.
    const fn new(lists: &'static [u8], slots: &'static [u8]) -> Self {
        Self { lists, slots }
    }

    /// The value that the random word `random` draws from a list.
    ///
    /// The list must not be empty.
    #[inline(always)]
    pub(crate) fn pick(&self, list: usize, random: u64) -> usize {
        let (first, len) = (word(self.lists, 2 * list), word(self.lists, 2 * list + 1));
        debug_assert!(len > 0, "list {list} is empty");
        let slot = first + (((random >> 32) * u64::from(len)) >> 32) as u32;
        let (threshold, values) = (
            word(self.slots, 2 * slot as usize),
            word(self.slots, 2 * slot as usize + 1),
        );
        let shift = if (random as u32) < threshold { 0 } else { 16 };
        ((values >> shift) & 0xffff) as usize
    }

    /// Whether nothing can be drawn from a list.
    #[inline]
    pub(crate) fn is_empty(&self, list: usize) -> bool {
        word(self.lists, 2 * list + 1) == 0
    }
}

/// Word `number` of a list of little-endian words.
#[inline(always)]
fn word(bytes: &[u8], number: usize) -> u32 {
    let bytes = &bytes[4 * number..][..4];
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

include!(concat!(env!("OUT_DIR"), "/tables.rs"));
