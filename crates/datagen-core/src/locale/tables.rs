//! Access to the tables that the build script generates from `data/`.

use crate::text::Cursor;

/// A text in the pool.
///
/// The pool holds the texts without gaps and has spare bytes at its end, so that a constant number of bytes can be
/// copied starting at the beginning of any text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    /// The position of the text in the upper 24 bits, and its length in the lower 8 bits.
    entry: u32,
}

impl Text {
    /// No text.
    pub(crate) const EMPTY: Self = Self { entry: 0 };

    /// The text for an entry from the build script.
    #[inline(always)]
    pub(crate) const fn new(entry: u32) -> Self {
        Self { entry }
    }

    #[inline(always)]
    fn start(self) -> usize {
        (self.entry >> 8) as usize
    }

    #[inline(always)]
    fn len(self) -> usize {
        (self.entry & 0xff) as usize
    }

    /// Appends the text, which has at most `N` bytes: copies `N` bytes, a number known at compile time, and advances
    /// by the actual length.
    #[inline(always)]
    pub(crate) fn write<const N: usize>(self, out: &mut Cursor<'_>) {
        out.push_padded::<N>(&POOL[self.start()..self.start() + N], self.len());
    }

    /// The first byte of the text, which is ASCII.
    #[inline(always)]
    pub(crate) fn initial(self) -> Self {
        Self {
            entry: self.entry & !0xff | 1,
        }
    }

    /// The text.
    pub(crate) fn as_str(self) -> &'static str {
        let bytes = &POOL[self.start()..][..self.len()];
        std::str::from_utf8(bytes).expect("the build script writes UTF-8")
    }
}

/// A list of texts, each of at most `N` bytes.
#[derive(Debug)]
pub(crate) struct Texts<const N: usize> {
    /// The texts' entries.
    index: &'static [u8],
}

impl<const N: usize> Texts<N> {
    /// Wraps tables from the build script.
    const fn new(index: &'static [u8]) -> Self {
        Self { index }
    }

    /// The number of texts.
    pub(crate) const fn len(&self) -> usize {
        self.index.len() / 4
    }

    /// A text of the list.
    #[inline(always)]
    pub(crate) fn text(&self, number: usize) -> Text {
        Text {
            entry: word(self.index, number),
        }
    }

    /// Appends a text of the list.
    #[inline(always)]
    pub(crate) fn write(&self, number: usize, out: &mut Cursor<'_>) {
        self.text(number).write::<N>(out);
    }
}

/// Lists of weighted values of `BITS` bits, as Walker alias tables. Each draw takes half of a random word.
#[derive(Debug)]
pub(crate) struct Choices<const BITS: u32> {
    /// A word per list: the number of its first slot in the upper 20 bits and the number of its slots in the lower 12
    /// bits.
    lists: &'static [u8],
    /// A word per slot: the value that is drawn below the threshold in the lowest bits, then the value that is drawn
    /// otherwise, and the threshold in the upper bits.
    slots: &'static [u8],
}

impl<const BITS: u32> Choices<BITS> {
    /// Wraps tables from the build script.
    const fn new(lists: &'static [u8], slots: &'static [u8]) -> Self {
        Self { lists, slots }
    }

    /// The value that the random number `random` draws from a list.
    ///
    /// The list must not be empty.
    #[inline(always)]
    pub(crate) fn pick(&self, list: usize, random: u32) -> usize {
        let entry = word(self.lists, list);
        let (first, len) = (entry >> 12, entry & 0xfff);
        debug_assert!(len > 0, "list {list} is empty");
        let scaled = u64::from(random) * u64::from(len);
        let slot = word(self.slots, first as usize + (scaled >> 32) as usize);
        // The remaining bits of the random number decide between the two values.
        let above = (scaled as u32) >> (2 * BITS) >= slot >> (2 * BITS);
        (slot >> (u32::from(above) * BITS)) as usize & ((1 << BITS) - 1)
    }

    /// Whether a list is empty, so that nothing can be drawn from it.
    #[inline(always)]
    pub(crate) fn is_empty(&self, list: usize) -> bool {
        word(self.lists, list) & 0xfff == 0
    }
}

/// One long list of weighted numbers from 0, as a Walker alias table. Each draw takes half of a random word.
#[derive(Debug)]
pub(crate) struct Choice {
    /// A word per number: the threshold in the upper half, and in the lower half the number that is drawn instead at
    /// or above the threshold.
    slots: &'static [u8],
}

impl Choice {
    /// Wraps tables from the build script.
    const fn new(slots: &'static [u8]) -> Self {
        Self { slots }
    }

    /// The number that the random number `random` draws.
    #[inline(always)]
    pub(crate) fn pick(&self, random: u32) -> usize {
        let scaled = u64::from(random) * (self.slots.len() as u64 / 4);
        let own = (scaled >> 32) as usize;
        let slot = word(self.slots, own);
        if (scaled as u32) >> 16 < slot >> 16 {
            own
        } else {
            (slot & 0xffff) as usize
        }
    }
}

/// The form of surname `number` for a gender (0 for men, 1 for women), and its ASCII form; see the build script for
/// the blocks.
#[inline(always)]
pub(crate) fn surname(number: usize, gender: usize) -> (Text, Text) {
    let block = u32::from(SURNAMES[number]) * 8;
    let forms = (long(POOL, block as usize / 8) >> (24 * gender)) as u32;
    let text = |form: u32| Text::new((block + (form & 0x7f)) << 8 | form >> 7 & 0x1f);
    (text(forms), text(forms >> 12))
}

/// Double word `number` of a list of little-endian double words.
#[inline(always)]
pub(crate) fn long(bytes: &[u8], number: usize) -> u64 {
    u64::from_le_bytes(bytes.as_chunks().0[number])
}

/// Word `number` of a list of little-endian words.
#[inline(always)]
pub(crate) fn word(bytes: &[u8], number: usize) -> u32 {
    u32::from_le_bytes(bytes.as_chunks().0[number])
}

include!(concat!(env!("OUT_DIR"), "/tables.rs"));
