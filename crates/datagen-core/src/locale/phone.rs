//! Czech telephone numbers, in the mix of spellings that people use.
//!
//! Nine digits, without a trunk prefix: mobile ranges and area codes of fixed lines are those of the Czech numbering
//! plan (Decree No. 117/2007 Coll.). The country code is 420.

use fake::Dummy;
use rand::RngExt;

use super::person::{AGE_COUNT, AGES, index_of_age};
use super::place::Region;
use super::tables;
use crate::rng::{Alias, below, halves, scale32};
use crate::text::{Cursor, WriteText, text_value};

static MOBILE_WEIGHTS: Alias = Alias::new(tables::MOBILE_ALIAS);

/// A telephone number and the way it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhoneNumber {
    prefix: u16,
    /// The six digits after the prefix.
    subscriber: u32,
    spelling: Spelling,
}
text_value!(PhoneNumber);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// `+420 725 962 523`
    Plus,
    /// `725 962 523`
    National,
    /// `725962523`
    Digits,
    /// `+420725962523`
    PlusDigits,
    /// `00420 725 962 523`
    Zeros,
}

/// The telephone number of a person of this age in years who lives in this region: usually mobile, otherwise a fixed
/// line of the region.
#[derive(Clone, Copy, Debug)]
pub struct PhoneOf(pub Region, pub u8);

/// The number of people per 1 000 who give the number of a fixed line, by age. Source: our estimate; about 15 % of
/// Czech households still have a fixed line (Czech Statistical Office, use of ICT in households), mostly those of
/// pensioners.
static FIXED_LINES: [u32; AGE_COUNT] = {
    let mut shares = [0; AGE_COUNT];
    let mut index = 0;
    while index < AGE_COUNT {
        shares[index] = match *AGES.start() as usize + index {
            0..=39 => 3,
            40..=59 => 15,
            60..=69 => 50,
            _ => 110,
        };
        index += 1;
    }
    shares
};

/// The spellings; each entry stands for a twentieth of the numbers.
static SPELLINGS: [Spelling; 20] = {
    use Spelling::{Digits, National, Plus, PlusDigits, Zeros};
    [
        Plus, Plus, Plus, Plus, Plus, Plus, Plus, Plus, National, National, National, National, National,
        National, Digits, Digits, Digits, PlusDigits, PlusDigits, Zeros,
    ]
};

impl Spelling {
    /// The country code in this spelling, padded to eight bytes, and its length.
    #[inline(always)]
    fn country_code(self) -> (&'static [u8; 8], usize) {
        const CODES: [(&[u8; 8], usize); 5] = [
            (b"+420    ", 5),
            (b"        ", 0),
            (b"        ", 0),
            (b"+420    ", 4),
            (b"00420   ", 6),
        ];
        CODES[self as usize]
    }

    /// Whether the digits are in groups of three.
    #[inline(always)]
    fn is_spaced(self) -> bool {
        matches!(self, Self::Plus | Self::National | Self::Zeros)
    }
}

impl Dummy<PhoneOf> for PhoneNumber {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&PhoneOf(region, age): &PhoneOf, rng: &mut R) -> Self {
        let (of_spelling, of_line) = halves(rng);
        let spelling = SPELLINGS[scale32(of_spelling, SPELLINGS.len() as u32) as usize];
        let subscriber = below(rng, 1_000_000) as u32;
        let fixed = FIXED_LINES[index_of_age(age)];
        let prefix = if scale32(of_line, 1_000) >= fixed {
            tables::MOBILE_PREFIXES[MOBILE_WEIGHTS.pick(rng)]
        } else {
            let prefixes = region.landline_prefixes();
            prefixes[below(rng, prefixes.len() as u64) as usize]
        };
        Self {
            prefix,
            subscriber,
            spelling,
        }
    }
}

impl WriteText for PhoneNumber {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        let (code, len) = self.spelling.country_code();
        let spaced = self.spelling.is_spaced();
        out.push_padded::<8>(code, len);
        out.push_three_digits(u32::from(self.prefix), spaced);
        out.push_three_digits(self.subscriber / 1_000, spaced);
        out.push_three_digits(self.subscriber % 1_000, false);
    }
}

#[cfg(test)]
mod tests {
    use fake::{Fake, Faker};

    use super::*;
    use crate::locale::place::Municipality;
    use crate::locale::test_rng;

    #[test]
    fn fixed_lines_are_of_the_region_and_all_spellings_occur() {
        let mut spellings = std::collections::BTreeMap::new();
        for id in 0..20_000 {
            let rng = &mut test_rng(id);
            let region = Faker.fake_with_rng::<Municipality, _>(rng).region();
            let phone: PhoneNumber = PhoneOf(region, 18 + (id % 72) as u8).fake_with_rng(rng);
            assert!(
                tables::MOBILE_PREFIXES.contains(&phone.prefix)
                    || region.landline_prefixes().contains(&phone.prefix),
                "{phone}"
            );
            let shape: String = phone
                .to_string()
                .chars()
                .map(|c| if c.is_ascii_digit() { '9' } else { c })
                .collect();
            *spellings.entry(shape).or_insert(0) += 1;
        }
        let shapes: Vec<_> = spellings.keys().map(String::as_str).collect();
        assert_eq!(
            shapes,
            [
                "+999 999 999 999",
                "+999999999999",
                "999 999 999",
                "99999 999 999 999",
                "999999999"
            ]
        );
        assert!(spellings.values().all(|&count| count > 500), "{spellings:?}");
    }
}
