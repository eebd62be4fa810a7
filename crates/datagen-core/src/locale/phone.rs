//! Czech telephone numbers, in the mix of spellings that people use.
//!
//! Nine digits, without a trunk prefix: mobile ranges and the fixed lines' area codes as the Czech numbering
//! plan has them (Decree No. 117/2007 Coll.); country code 420.

use fake::Dummy;
use rand::RngExt;

use super::place::Region;
use super::tables;
use crate::rng::{Alias, below};
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

/// A phone of a person who lives in this region and has this age in years: mobile mostly, else a fixed line of the region.
#[derive(Clone, Copy, Debug)]
pub struct PhoneOf(pub Region, pub u8);

/// How many of 1 000 people give the number of a fixed line, by the oldest age of a group. Source: our estimate; about 15 % of Czech
/// households still have a fixed line (Czech Statistical Office, use of ICT in households), mostly those of pensioners.
const FIXED_LINES: [(u8, u64); 4] = [(39, 3), (59, 15), (69, 50), (u8::MAX, 110)];

impl Dummy<PhoneOf> for PhoneNumber {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&PhoneOf(region, age): &PhoneOf, rng: &mut R) -> Self {
        let spelling = match below(rng, 20) {
            0..8 => Spelling::Plus,
            8..14 => Spelling::National,
            14..17 => Spelling::Digits,
            17..19 => Spelling::PlusDigits,
            _ => Spelling::Zeros,
        };
        let draw = below(rng, 1_000 * 1_000_000);
        let (line, subscriber) = (draw / 1_000_000, (draw % 1_000_000) as u32);
        let group = FIXED_LINES.iter().position(|(oldest, _)| age <= *oldest);
        let prefix = if line >= FIXED_LINES[group.expect("the last group has no end")].1 {
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
        let spaced = match self.spelling {
            Spelling::Plus => {
                out.push_str("+420 ");
                true
            }
            Spelling::Zeros => {
                out.push_str("00420 ");
                true
            }
            Spelling::National => true,
            Spelling::PlusDigits => {
                out.push_str("+420");
                false
            }
            Spelling::Digits => false,
        };
        out.push_digits::<3>(u32::from(self.prefix));
        if spaced {
            out.push_ascii(b' ');
            out.push_digits::<3>(self.subscriber / 1_000);
            out.push_ascii(b' ');
            out.push_digits::<3>(self.subscriber % 1_000);
        } else {
            out.push_digits::<6>(self.subscriber);
        }
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
