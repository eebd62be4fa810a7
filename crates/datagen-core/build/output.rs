//! Writes `tables.rs` and the binary files that it includes.
//!
//! Unlike constants in source text, included bytes do not have to be parsed by the compiler, and they are close
//! together in memory.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

/// The longest text that is copied with a constant size, in bytes. The pool ends with as many spare bytes.
const LONGEST_COPY: usize = 128;

/// The tables made so far.
#[derive(Default)]
pub(crate) struct Output {
    code: String,
    /// The texts without gaps; equal texts are stored once.
    pool: Vec<u8>,
    known: HashMap<String, u32>,
}

impl Output {
    /// Adds a text to the pool and returns its entry: the position in the upper 24 bits and the length in the lower 8
    /// bits.
    pub(crate) fn text(&mut self, text: &str) -> u32 {
        if let Some(&entry) = self.known.get(text) {
            return entry;
        }
        let (start, len) = (self.pool.len(), text.len());
        assert!(start < 1 << 24 && len <= LONGEST_COPY, "{text:?}");
        let entry = (start << 8 | len) as u32;
        self.pool.extend_from_slice(text.as_bytes());
        self.known.insert(text.to_owned(), entry);
        entry
    }

    /// Appends a block of texts to the pool at a multiple of `alignment` bytes and returns its position.
    pub(crate) fn block(&mut self, block: &[u8], alignment: usize) -> usize {
        let start = self.pool.len().next_multiple_of(alignment);
        self.pool.resize(start, 0);
        self.pool.extend_from_slice(block);
        start
    }

    /// Declares `NAME: Texts<longest>`; `longest` bytes are copied for every text.
    pub(crate) fn texts<T: AsRef<str>>(
        &mut self,
        name: &str,
        longest: usize,
        texts: impl IntoIterator<Item = T>,
    ) {
        assert!(longest <= LONGEST_COPY);
        let mut index = Vec::new();
        for text in texts {
            let text = text.as_ref();
            assert!(text.len() <= longest, "{name}: {text:?} has {} bytes", text.len());
            index.push(self.text(text));
        }
        let index = self.words(name, index);
        self.declare(
            name,
            &format!("Texts<{longest}>"),
            &format!("Texts::new({index})"),
        );
    }

    /// Declares `NAME: &[&str]`.
    pub(crate) fn strings(&mut self, name: &str, texts: impl IntoIterator<Item = impl Into<String>>) {
        let texts: Vec<String> = texts.into_iter().map(Into::into).collect();
        writeln!(self.code, "pub(crate) const {name}: &[&str] = &{texts:?};").expect("writing to a String");
    }

    /// Declares `NAME: &[integer]`.
    pub(crate) fn numbers(&mut self, name: &str, integer: &str, values: impl IntoIterator<Item = u64>) {
        let values: Vec<_> = values.into_iter().collect();
        writeln!(self.code, "pub(crate) const {name}: &[{integer}] = &{values:?};")
            .expect("writing to a String");
    }

    /// Declares `NAME: &[element]`. The `Debug` form of the values must be valid Rust.
    pub(crate) fn list<T: std::fmt::Debug>(&mut self, name: &str, element: &str, values: &[T]) {
        writeln!(self.code, "pub(crate) const {name}: &[{element}] = &{values:?};")
            .expect("writing to a String");
    }

    /// Declares `NAME: &[u8]`, 32-bit words in little-endian order.
    pub(crate) fn word_list(&mut self, name: &str, words: impl IntoIterator<Item = u32>) {
        let bytes = self.words(name, words);
        self.declare(name, "&[u8]", &bytes);
    }

    /// Declares `NAME: &[u8]`, 64-bit words in little-endian order.
    pub(crate) fn long_list(&mut self, name: &str, longs: impl IntoIterator<Item = u64>) {
        let halves = longs
            .into_iter()
            .flat_map(|long| [long as u32, (long >> 32) as u32]);
        self.word_list(name, halves);
    }

    /// Declares `NAME: Choices<BITS>`.
    pub(crate) fn choices(&mut self, name: &str, choices: ChoicesBuilder) {
        let bits = choices.bits();
        let (lists, slots) = choices.tables(bits);
        let (lists, slots) = (
            self.words(&format!("{name}.lists"), lists),
            self.words(&format!("{name}.slots"), slots),
        );
        self.declare(
            name,
            &format!("Choices<{bits}>"),
            &format!("Choices::new({lists}, {slots})"),
        );
    }

    /// Declares `NAME: Choice`: the numbers from 0 with these weights, all positive.
    pub(crate) fn choice(&mut self, name: &str, weights: &[u64]) {
        assert!(weights.len() < 1 << 16 && weights.iter().all(|&weight| weight > 0));
        let slots = alias(weights)
            .into_iter()
            .map(|(threshold, other)| (threshold >> 16) << 16 | other as u32);
        let slots = self.words(name, slots);
        self.declare(name, "Choice", &format!("Choice::new({slots})"));
    }

    /// Writes the tables to the build directory.
    pub(crate) fn write(mut self) {
        let mut pool = std::mem::take(&mut self.pool);
        pool.resize(pool.len() + LONGEST_COPY, 0);
        let bytes = include("POOL", &pool);
        self.declare("POOL", &format!("&[u8; {}]", pool.len()), &bytes);
        fs::write(target("tables.rs"), self.code).expect("OUT_DIR can be written");
    }

    fn declare(&mut self, name: &str, kind: &str, value: &str) {
        writeln!(self.code, "pub(crate) static {name}: {kind} = {value};").expect("writing to a String");
    }

    /// Writes words to `NAME` in the build directory and returns the expression that includes them.
    fn words(&mut self, name: &str, words: impl IntoIterator<Item = u32>) -> String {
        let bytes: Vec<_> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        include(name, &bytes)
    }
}

fn target(file: &str) -> PathBuf {
    PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join(file)
}

/// Writes bytes to a file in the build directory and returns the expression that includes them.
fn include(file: &str, bytes: &[u8]) -> String {
    fs::write(target(file), bytes).expect("OUT_DIR can be written");
    format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\"))")
}

/// Lists of weighted values from which `Choices` draws. Equal lists are stored once.
#[derive(Default)]
pub(crate) struct ChoicesBuilder {
    lists: Vec<u32>,
    /// The values of a slot and the threshold between them, of 32 bits.
    slots: Vec<(u32, u32, u32)>,
    known: HashMap<Vec<(u32, u64)>, u32>,
}

/// The bits of a list's entry that hold its length.
const LENGTH_BITS: u32 = 12;

impl ChoicesBuilder {
    /// Appends a list of values with their weights. Values with the weight 0 are left out.
    pub(crate) fn push(&mut self, list: impl IntoIterator<Item = (usize, u64)>) {
        let list: Vec<_> = list
            .into_iter()
            .filter(|&(_, weight)| weight > 0)
            .map(|(value, weight)| (value as u32, weight))
            .collect();
        let entry = match self.known.get(&list) {
            Some(&entry) => entry,
            None => {
                assert!(list.len() < 1 << LENGTH_BITS && self.slots.len() < 1 << (32 - LENGTH_BITS));
                let entry = (self.slots.len() << LENGTH_BITS | list.len()) as u32;
                let weights: Vec<_> = list.iter().map(|&(_, weight)| weight).collect();
                let slots = alias(&weights).into_iter().zip(&list);
                self.slots
                    .extend(slots.map(|((threshold, other), own)| (own.0, list[other].0, threshold)));
                self.known.insert(list, entry);
                entry
            }
        };
        self.lists.push(entry);
    }

    /// The number of bits of the largest value.
    fn bits(&self) -> u32 {
        let values = self.slots.iter().map(|&(own, other, _)| own.max(other));
        32 - values.max().unwrap_or(0).leading_zeros()
    }

    /// The words of the lists and of the slots. A slot contains two values of `bits` bits each, and above them as
    /// many of the threshold's upper bits as fit.
    fn tables(self, bits: u32) -> (Vec<u32>, Vec<u32>) {
        assert!(
            bits <= 10,
            "values of {bits} bits leave too few for the threshold"
        );
        let slots = self.slots.into_iter().map(|(own, other, threshold)| {
            let threshold = threshold >> (2 * bits);
            threshold << (2 * bits) | other << bits | own
        });
        (self.lists, slots.collect())
    }
}

/// Vose's construction of Walker's alias table: for each slot, the threshold below which the number of the slot is
/// drawn, and the number that is drawn otherwise.
pub(crate) fn alias(weights: &[u64]) -> Vec<(u32, usize)> {
    let count = weights.len() as u128;
    let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    // Scaled so that the average slot holds `total`.
    let mut left: Vec<u128> = weights.iter().map(|&weight| u128::from(weight) * count).collect();
    let (mut small, mut large): (VecDeque<_>, VecDeque<_>) =
        (0..weights.len()).partition(|&i| left[i] < total);
    let mut table: Vec<(u32, usize)> = (0..weights.len()).map(|i| (u32::MAX, i)).collect();
    while let (Some(poor), Some(&rich)) = (small.pop_front(), large.front()) {
        table[poor] = (((left[poor] << 32) / total) as u32, rich);
        left[rich] -= total - left[poor];
        if left[rich] < total {
            small.extend(large.pop_front());
        }
    }
    table
}
