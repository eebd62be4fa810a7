//! The byte buffer into which records are encoded, and the formatting of dates and times.
//!
//! Most of a record consists of short texts from static lists. Copying a text of unknown length is a call to
//! `memcpy`; copying a number of bytes known at compile time is one or two vector moves, after which the cursor
//! advances by the actual length. This makes the encoder fast, without any unsafe code.

use chrono::{DateTime, Datelike, Timelike};

/// A growing byte buffer into which records are written.
///
/// It can be reused, because [`clear`](Self::clear) keeps the memory.
#[derive(Clone, Debug, Default)]
pub struct TextBuf {
    /// Initialized up to its full length. The written part ends at `len`.
    bytes: Vec<u8>,
    len: usize,
}

impl TextBuf {
    /// An empty buffer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity],
            len: 0,
        }
    }

    /// Appends what `write` writes. `most` is the maximum number of bytes, including the padding of the last text.
    ///
    /// # Panics
    /// If `write` writes more than `most` bytes.
    #[inline]
    pub fn append(&mut self, most: usize, write: impl FnOnce(&mut Cursor<'_>)) {
        let end = self.len + most;
        if end > self.bytes.len() {
            self.grow(end);
        }
        let mut cursor = Cursor {
            room: &mut self.bytes[self.len..end],
            at: 0,
        };
        write(&mut cursor);
        self.len += cursor.at as usize;
    }

    /// Appends `bytes`, which must be UTF-8 without a line feed, as a line.
    pub fn push_line(&mut self, bytes: &[u8]) {
        self.append(bytes.len() + 1, |out| {
            out.push_bytes(bytes);
            out.push_ascii(b'\n');
        });
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        self.bytes.resize(needed.max(self.bytes.len() * 2), 0);
    }

    /// Removes the contents and keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The number of bytes that have been written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What has been written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for TextBuf {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Writes into space that has been reserved. It is kept in registers while a record is written, so that computing the
/// position of a text does not have to wait until that of the previous text has been stored in memory.
#[derive(Debug)]
pub struct Cursor<'a> {
    room: &'a mut [u8],
    /// 32 bits wide, so that adding a small number to it as a `usize` cannot overflow and needs no check.
    at: u32,
}

impl Cursor<'_> {
    /// Appends the first `len` bytes of `bytes`, which must be UTF-8, by copying `N` bytes.
    ///
    /// # Panics
    /// If `bytes` or the remaining space is shorter than `N` bytes.
    #[inline(always)]
    pub(crate) fn push_padded<const N: usize>(&mut self, bytes: &[u8], len: usize) {
        debug_assert!(len <= N);
        let at = self.at as usize;
        self.room[at..at + N].copy_from_slice(&bytes[..N]);
        self.at += len as u32;
    }

    /// Appends text.
    #[inline(always)]
    pub fn push_str(&mut self, text: &str) {
        self.push_bytes(text.as_bytes());
    }

    /// Appends bytes, which must be UTF-8.
    #[inline(always)]
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        self.room[self.at as usize..][..bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len() as u32;
    }

    /// Appends one ASCII byte.
    #[inline(always)]
    pub fn push_ascii(&mut self, byte: u8) {
        debug_assert!(byte.is_ascii());
        self.room[self.at as usize] = byte;
        self.at += 1;
    }

    /// Appends a number in decimal digits.
    #[inline]
    pub fn push_number(&mut self, number: u64) {
        self.push_str(itoa::Buffer::new().format(number));
    }

    /// Appends a number below 10 000 in decimal digits, or nothing if `written` is false, in the same time for all
    /// numbers.
    ///
    /// # Panics
    /// If there is no space for four bytes; in debug builds, also if the number is 10 000 or more.
    #[inline(always)]
    pub(crate) fn push_small_number_if(&mut self, number: u32, written: bool) {
        let (thousands, rest) = (number / 1_000, number % 1_000);
        let digits = THREE_DIGITS[rest as usize] << 8 | (u32::from(b'0') + thousands);
        let len = 1 + u32::from(number > 9) + u32::from(number > 99) + u32::from(number > 999);
        debug_assert!(number < 10_000);
        // Leading zeros are in the lowest bytes.
        let bytes = (digits >> (8 * (4 - len))).to_le_bytes();
        self.push_padded::<4>(&bytes, if written { len as usize } else { 0 });
    }

    /// Appends the three decimal digits of a number below 1 000, with leading zeros, and a space if `spaced`.
    ///
    /// # Panics
    /// If the number is 1 000 or more, or if there is no space for four bytes.
    #[inline(always)]
    pub(crate) fn push_three_digits(&mut self, number: u32, spaced: bool) {
        let digits = THREE_DIGITS[number as usize] | u32::from(b' ') << 24;
        self.push_padded::<4>(&digits.to_le_bytes(), 3 + usize::from(spaced));
    }

    /// Appends an ASCII byte, or nothing if `written` is false, in the same time.
    #[inline(always)]
    pub(crate) fn push_ascii_if(&mut self, byte: u8, written: bool) {
        debug_assert!(byte.is_ascii());
        self.room[self.at as usize] = byte;
        self.at += u32::from(written);
    }

    /// Appends the last `WIDTH` decimal digits of `number`, with leading zeros.
    #[inline(always)]
    pub fn push_digits<const WIDTH: usize>(&mut self, mut number: u32) {
        let mut digits = [b'0'; WIDTH];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.push_bytes(&digits);
    }
}

/// The three digits of every number below 1 000, the first in the lowest byte; the highest byte is 0.
static THREE_DIGITS: [u32; 1_000] = {
    let mut digits = [0; 1_000];
    let mut number = 0;
    while number < 1_000 {
        let n = number as u32;
        digits[number] = 0x30_30_30 + (n / 100) + ((n / 10 % 10) << 8) + ((n % 10) << 16);
        number += 1;
    }
    digits
};

/// The maximum length of a value's text, in bytes.
const MOST_TEXT_BYTES: usize = 2_048;

/// A value that writes itself as text, without quotes.
///
/// `text_value!` implements `Display` and `Serialize` for such a type, with the same bytes.
pub trait WriteText {
    /// Appends the value's text.
    fn write_text(&self, out: &mut Cursor<'_>);

    /// The text as a `String`, for tests and messages. The generators do not use it.
    fn to_text(&self) -> String {
        let mut out = TextBuf::default();
        out.append(MOST_TEXT_BYTES, |out| self.write_text(out));
        String::from_utf8(out.as_bytes().to_vec()).expect("values write UTF-8")
    }
}

/// Implements `Display` and `Serialize` (as a string) for types that implement [`WriteText`].
macro_rules! text_value {
    ($($type:ty),+ $(,)?) => {$(
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$crate::text::WriteText::to_text(self))
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+};
}
pub(crate) use text_value;

/// The length of the result of [`date_time`], in bytes.
pub const DATE_TIME_LEN: usize = 19;

/// The seconds since 1970-01-01 00:00:00 as `YYYY-MM-DD?hh:mm:ss`, with `separator` between date and time. The
/// formatting of chrono, which interprets a pattern, is much slower.
///
/// # Panics
/// If the year does not have one to four digits.
pub fn date_time(seconds: i64, separator: u8) -> [u8; DATE_TIME_LEN] {
    let time = DateTime::from_timestamp(seconds, 0).expect("years have four digits");
    let mut text = *b"0000-00-00 00:00:00";
    text[10] = separator;
    let mut put = |mut end: usize, mut number: u32| {
        while number > 0 {
            end -= 1;
            text[end] += (number % 10) as u8;
            number /= 10;
        }
    };
    put(4, time.year().unsigned_abs());
    for (end, number) in [
        (7, time.month()),
        (10, time.day()),
        (13, time.hour()),
        (16, time.minute()),
        (19, time.second()),
    ] {
        put(end, number);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_times_are_those_of_chrono() {
        // From 1753-01-01 to 9999-12-31, in steps of about 31 days with all parts changing.
        for seconds in (-6_847_804_800..=253_402_300_799_i64).step_by(2_682_061) {
            let expected = DateTime::from_timestamp(seconds, 0).expect("years have four digits");
            for (separator, pattern) in [(b' ', "%Y-%m-%d %H:%M:%S"), (b'T', "%Y-%m-%dT%H:%M:%S")] {
                assert_eq!(
                    date_time(seconds, separator),
                    expected.format(pattern).to_string().as_bytes()
                );
            }
        }
    }

    #[test]
    fn padded_texts_advance_by_their_length_and_the_buffer_grows() {
        let mut out = TextBuf::with_capacity(3);
        out.append(100, |out| {
            out.push_padded::<16>("žluťoučký a ještě něco".as_bytes(), "žluťoučký".len());
            out.push_ascii(b' ');
            out.push_padded::<8>(b"12345678", 0);
            out.push_str("kůň");
            out.push_ascii(b' ');
        });
        out.append(20, |out| {
            out.push_digits::<4>(42);
            out.push_number(1_000_000);
        });
        assert_eq!(
            std::str::from_utf8(out.as_bytes()).unwrap(),
            "žluťoučký kůň 00421000000"
        );
        for number in [0, 7, 10, 99, 100, 942, 1_000, 3_005, 9_999] {
            out.clear();
            out.append(40, |out| {
                out.push_small_number_if(number, false);
                out.push_small_number_if(number, true);
                out.push_ascii_if(b'x', false);
                out.push_ascii_if(b'y', true);
                out.push_three_digits(number % 1_000, true);
                out.push_three_digits(number / 1_000, false);
            });
            let expected = format!("{number}y{:03} {:03}", number % 1_000, number / 1_000);
            assert_eq!(std::str::from_utf8(out.as_bytes()).unwrap(), expected);
        }
        out.clear();
        assert!(out.is_empty());
        out.append(1, |out| out.push_str("a"));
        assert_eq!(out.as_bytes(), b"a");
    }
}
