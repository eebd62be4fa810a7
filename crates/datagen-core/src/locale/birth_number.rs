//! Birth numbers (rodné číslo): date of birth, gender, a serial number and a check digit.
//!
//! Source: Act No. 133/2000 Coll., § 13: `YYMMDD/SSS` for people born before 1 January 1954, `YYMMDD/SSSC`
//! from that day on, where the ten digits as one number are divisible by 11; a woman's month is raised by 50.

use fake::Dummy;
use rand::RngExt;

use super::person::{BirthDate, Gender};
use crate::rng::below;
use crate::text::{Cursor, WriteText, text_value};

/// The first year of ten-digit birth numbers.
pub const FIRST_TEN_DIGIT_YEAR: u16 = 1954;

/// A valid birth number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BirthNumber {
    /// `YYMMDD`, the month raised by 50 for women.
    date: u32,
    /// Three digits.
    serial: u32,
    /// The check digit, from 1954.
    check: Option<u8>,
}
text_value!(BirthNumber);

/// The birth number of a person of this gender and birth date.
#[derive(Clone, Copy, Debug)]
pub struct BirthNumberOf(pub Gender, pub BirthDate);

impl Dummy<BirthNumberOf> for BirthNumber {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(
        &BirthNumberOf(gender, birth): &BirthNumberOf,
        rng: &mut R,
    ) -> Self {
        let year = u32::from(birth.year() % 100);
        let date = year * 10_000 + birth.month_day() + 5_000 * gender.index() as u32;
        if birth.year() < FIRST_TEN_DIGIT_YEAR {
            return Self {
                date,
                serial: 1 + below(rng, 999) as u32,
                check: None,
            };
        }
        // 10 ≡ -1 modulo 11, so the check digit is the remainder of the nine digits before it. A remainder of 10 is
        // not a digit; such a serial number is skipped, and the next one has a different remainder.
        let mut serial = below(rng, 1_000) as u32;
        loop {
            let remainder = (date * 1_000 + serial) % 11;
            if remainder < 10 {
                return Self {
                    date,
                    serial,
                    check: Some(remainder as u8),
                };
            }
            serial = (serial + 1) % 1_000;
        }
    }
}

impl WriteText for BirthNumber {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        out.push_three_digits(self.date / 1_000, false);
        out.push_three_digits(self.date % 1_000, false);
        out.push_ascii(b'/');
        out.push_three_digits(self.serial, false);
        out.push_ascii_if(b'0' + self.check.unwrap_or(0), self.check.is_some());
    }
}

#[cfg(test)]
mod tests {
    use chrono::Datelike;
    use fake::Fake;

    use super::*;
    use crate::locale::person::{BornIn, GenderAt};
    use crate::locale::test_rng;

    #[test]
    fn both_forms_are_made_and_follow_the_rules() {
        let (mut nine, mut ten) = (0, 0);
        for id in 0..20_000 {
            let rng = &mut test_rng(id);
            let birth: BirthDate = BornIn(1936 + (id % 72) as u16).fake_with_rng(rng);
            let gender: Gender = GenderAt(birth.age()).fake_with_rng(rng);
            let text = BirthNumberOf(gender, birth)
                .fake_with_rng::<BirthNumber, _>(rng)
                .to_string();
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            assert_eq!(text.as_bytes()[6], b'/');
            assert_eq!(text[..2].parse(), Ok(birth.date().year() % 100));
            let month: u32 = text[2..4].parse().unwrap();
            assert_eq!(month > 50, gender == Gender::Female);
            assert_eq!(month % 50, birth.date().month());
            if birth.date().year() < 1954 {
                nine += 1;
                assert_eq!(digits.len(), 9);
                assert_ne!(&digits[6..], "000");
            } else {
                ten += 1;
                assert_eq!(digits.len(), 10);
                assert_eq!(digits.parse::<u64>().unwrap() % 11, 0, "{text}");
            }
        }
        assert!(nine > 1_000 && ten > 10_000, "{nine} {ten}");
    }
}
