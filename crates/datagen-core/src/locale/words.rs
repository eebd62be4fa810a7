//! Texts of Czech words: sentences that begin with a capital and end with a full stop.

use fake::Dummy;
use rand::RngExt;

use super::tables;
use crate::rng::{RecordRng, below, start};
use crate::text::{Cursor, Piece, WriteText, text_value};

/// Each word with a space behind it: one 16-byte copy writes both.
static WORDS: [Piece<16>; tables::WORDS_SPACED.len()] = Piece::list(tables::WORDS_SPACED);
static CAPITALIZED: [Piece<16>; tables::WORDS_SPACED.len()] = Piece::list(tables::WORDS_CAPITALIZED_SPACED);

/// Words in proportion to their frequency, 4096 slots: a slot is 12 random bits, so one random word draws
/// five words. Writing them is about 30 % of a user record's time, the largest single part.
static SLOTS: [u16; 4096] = {
    let mut slots = [0; 4096];
    let mut i = 0;
    while i < slots.len() {
        slots[i] = tables::WORD_SLOTS[i];
        i += 1;
    }
    slots
};
const SLOT_BITS: u32 = 12;

/// Words in a sentence, both inclusive.
const SENTENCE_WORDS: (u64, u64) = (4, 11);

/// A paragraph of sentences. It holds the generator that its words are drawn from, not the words: they are
/// drawn as they are written, always the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paragraph {
    rng: RecordRng,
    sentences: u8,
}
text_value!(Paragraph);

/// A paragraph of about this many sentences: up to 40 % fewer or more.
#[derive(Clone, Copy, Debug)]
pub struct About(pub u8);

/// A paragraph of exactly this many sentences.
#[derive(Clone, Copy, Debug)]
pub struct Exactly(pub u8);

impl Dummy<About> for Paragraph {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&About(sentences): &About, rng: &mut R) -> Self {
        let spread = u64::from(sentences) * 2 / 5;
        let sentences = u64::from(sentences) - spread + below(rng, 2 * spread + 1);
        Exactly(sentences as u8).paragraph(rng)
    }
}

impl Dummy<Exactly> for Paragraph {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(exactly: &Exactly, rng: &mut R) -> Self {
        exactly.paragraph(rng)
    }
}

impl Exactly {
    #[inline]
    fn paragraph<R: RngExt + ?Sized>(self, rng: &mut R) -> Paragraph {
        Paragraph {
            rng: start(rng.next_u64()),
            sentences: self.0,
        }
    }
}

impl WriteText for Paragraph {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        let mut words = WordSource {
            rng: self.rng.clone(),
            bits: 0,
            left: 0,
        };
        let (fewest, most) = SENTENCE_WORDS;
        for sentence in 0..self.sentences {
            let count = fewest + below(&mut words.rng, most - fewest + 1);
            if sentence > 0 {
                out.push_ascii(b' ');
            }
            out.push_piece(&CAPITALIZED[words.next()]);
            for _ in 1..count {
                out.push_piece(&WORDS[words.next()]);
            }
            // The full stop takes the place of the space behind the last word.
            out.take_back();
            out.push_ascii(b'.');
        }
    }
}

/// Draws words, five from each random word.
struct WordSource {
    rng: RecordRng,
    bits: u64,
    left: u32,
}

impl WordSource {
    #[inline]
    fn next(&mut self) -> usize {
        if self.left == 0 {
            self.bits = rand::Rng::next_u64(&mut self.rng);
            self.left = 64 / SLOT_BITS;
        }
        let slot = self.bits as usize % SLOTS.len();
        self.bits >>= SLOT_BITS;
        self.left -= 1;
        usize::from(SLOTS[slot])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use fake::Fake;

    use super::*;
    use crate::locale::test_rng;

    #[test]
    fn sentences_are_czech_words_between_a_capital_and_a_full_stop() {
        let words: HashSet<_> = tables::WORDS.iter().copied().collect();
        let mut lengths = HashSet::new();
        let mut used = HashSet::new();
        for id in 0..5_000 {
            let text = About(5)
                .fake_with_rng::<Paragraph, _>(&mut test_rng(id))
                .to_string();
            let sentences: Vec<_> = text.strip_suffix('.').unwrap().split(". ").collect();
            lengths.insert(sentences.len());
            for sentence in sentences {
                assert!(sentence.starts_with(char::is_uppercase), "{text}");
                assert!((4..=11).contains(&sentence.split(' ').count()), "{text}");
                for word in sentence.to_lowercase().split(' ') {
                    let word = words.get(word).unwrap_or_else(|| panic!("{word:?} in {text}"));
                    used.insert(*word);
                }
            }
        }
        assert_eq!(lengths, HashSet::from([3, 4, 5, 6, 7]));
        assert_eq!(used.len(), words.len(), "every word occurs");
    }
}
