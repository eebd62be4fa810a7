//! Lists as bytes that the library includes. Unlike constants written as source text, they cost the compiler nothing,
//! and they lie closely together in memory.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

/// Writes `bytes` to `NAME.PART` in the build directory and returns the expression that includes them.
fn include(name: &str, part: &str, bytes: &[u8]) -> String {
    let file = format!("{name}.{part}");
    let target = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join(&file);
    fs::write(target, bytes).expect("OUT_DIR can be written");
    format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\"))")
}

/// Texts without gaps, and where each of them lies. Equal texts are stored once.
#[derive(Default)]
pub(crate) struct Texts {
    bytes: Vec<u8>,
    index: Vec<u32>,
    known: HashMap<String, u32>,
}

impl Texts {
    /// The texts of a column.
    pub(crate) fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut list = Self::default();
        texts.into_iter().for_each(|text| {
            list.push(text);
        });
        list
    }

    /// Appends a text and returns its number.
    pub(crate) fn push(&mut self, text: &str) -> usize {
        let entry = *self.known.entry(text.to_owned()).or_insert_with(|| {
            let entry =
                (self.bytes.len() << 8) as u32 | u32::from(u8::try_from(text.len()).expect("a short text"));
            self.bytes.extend_from_slice(text.as_bytes());
            entry
        });
        self.index.push(entry);
        self.index.len() - 1
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Declares `NAME: Texts<longest>`; `longest` bytes are copied for every text.
    pub(crate) fn write(mut self, out: &mut String, name: &str, longest: usize) {
        for text in self.known.keys() {
            assert!(text.len() <= longest, "{name}: {text:?} has {} bytes", text.len());
        }
        self.bytes.resize(self.bytes.len() + longest, 0);
        let index: Vec<_> = self.index.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        let (bytes, index) = (
            include(name, "texts", &self.bytes),
            include(name, "index", &index),
        );
        writeln!(
            out,
            "pub(crate) static {name}: Texts<{longest}> = Texts::new({bytes}, {index});"
        )
        .expect("writing to a String");
    }
}

/// Lists of weighted values, from which `Choices` draws; equal lists are stored once.
#[derive(Default)]
pub(crate) struct Choices {
    lists: Vec<(u32, u32)>,
    slots: Vec<(u32, u16, u16)>,
    known: HashMap<Vec<(u16, u64)>, (u32, u32)>,
}

impl Choices {
    /// Appends a list of values with their weights and returns its number.
    pub(crate) fn push(&mut self, list: impl IntoIterator<Item = (usize, u64)>) -> usize {
        let list: Vec<_> = list
            .into_iter()
            .filter(|&(_, weight)| weight > 0)
            .map(|(value, weight)| (u16::try_from(value).expect("a value of 16 bits"), weight))
            .collect();
        let entry = match self.known.get(&list) {
            Some(&entry) => entry,
            None => {
                let entry = (self.slots.len() as u32, list.len() as u32);
                self.slots.extend(alias(&list));
                self.known.insert(list, entry);
                entry
            }
        };
        self.lists.push(entry);
        self.lists.len() - 1
    }

    /// Declares `NAME: Choices`.
    pub(crate) fn write(self, out: &mut String, name: &str) {
        let lists: Vec<_> = self
            .lists
            .iter()
            .flat_map(|&(start, len)| (u64::from(len) << 32 | u64::from(start)).to_le_bytes())
            .collect();
        let slots: Vec<_> = self
            .slots
            .iter()
            .flat_map(|&(threshold, own, other)| {
                (u64::from(other) << 48 | u64::from(own) << 32 | u64::from(threshold)).to_le_bytes()
            })
            .collect();
        let (lists, slots) = (include(name, "lists", &lists), include(name, "slots", &slots));
        writeln!(
            out,
            "pub(crate) static {name}: Choices = Choices::new({lists}, {slots});"
        )
        .expect("writing to a String");
    }
}

/// Vose's construction of Walker's alias table: per slot a threshold, the value below it and the value above it.
fn alias(list: &[(u16, u64)]) -> Vec<(u32, u16, u16)> {
    let count = list.len() as u128;
    let total: u128 = list.iter().map(|&(_, weight)| u128::from(weight)).sum();
    // Scaled so that the average slot holds `total`.
    let mut left: Vec<u128> = list
        .iter()
        .map(|&(_, weight)| u128::from(weight) * count)
        .collect();
    let (mut small, mut large): (VecDeque<_>, VecDeque<_>) = (0..list.len()).partition(|&i| left[i] < total);
    let mut table: Vec<_> = list.iter().map(|&(value, _)| (u32::MAX, value, value)).collect();
    while let (Some(poor), Some(&rich)) = (small.pop_front(), large.front()) {
        table[poor].0 = ((left[poor] << 32) / total) as u32;
        table[poor].2 = list[rich].0;
        left[rich] -= total - left[poor];
        if left[rich] < total {
            small.extend(large.pop_front());
        }
    }
    table
}
