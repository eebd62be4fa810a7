//! People's names: given name by decade of birth, surname by frequency, and titles by education, age and gender.

use fake::Dummy;
use rand::RngExt;

use super::occupation::Career;
use super::person::{AGE_COUNT, BirthDate, Gender, index_of_age};
use super::tables::{self, Text};
use crate::rng::halves;
use crate::text::{Cursor, WriteText, text_value};

/// The first decade of birth in the tables of given names, and the number of decades.
const FIRST_DECADE: u16 = 1930;
const DECADES: usize = 8;

/// A person's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersonName {
    gender: Gender,
    given: Text,
    surname: Text,
    // The names in lower case without diacritics.
    ascii_given: Text,
    ascii_surname: Text,
    /// The numbers of the titles, from 1; 0 stands for no title.
    title_before: u8,
    title_after: u8,
}
text_value!(PersonName);

/// The name of a person with this date of birth and career.
#[derive(Clone, Copy, Debug)]
pub struct NameOf(pub BirthDate, pub Career);

impl Dummy<NameOf> for PersonName {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&NameOf(birth, career): &NameOf, rng: &mut R) -> Self {
        let gender = career.gender();
        let decade = usize::from((birth.year() - FIRST_DECADE) / 10);
        let (of_given, of_surname) = halves(rng);
        let given = tables::GIVEN_CHOICES.pick(gender.index() * DECADES + decade, of_given);
        let surname = tables::SURNAME_CHOICE.pick(of_surname);
        let titles = (2 * career.education() + gender.index()) * AGE_COUNT + index_of_age(career.age());
        let titles = tables::TITLE_PAIRS[tables::TITLES.pick(titles, halves(rng).0)];
        Self::new(gender, given, surname, titles)
    }
}

impl PersonName {
    /// The name from the numbers of a given name, a surname and a pair of titles in the tables.
    #[inline(always)]
    fn new(gender: Gender, given: usize, surname: usize, titles: u16) -> Self {
        let (surname, ascii_surname) = tables::surname(surname, gender.index());
        Self {
            gender,
            // Each given name is followed by its form in ASCII.
            given: tables::GIVEN_NAMES.text(2 * given),
            ascii_given: tables::GIVEN_NAMES.text(2 * given + 1),
            surname,
            ascii_surname,
            title_before: (titles >> 8) as u8,
            title_after: titles as u8,
        }
    }

    /// The person's gender.
    pub fn gender(&self) -> Gender {
        self.gender
    }

    /// The given name.
    pub fn given(&self) -> &'static str {
        self.given.as_str()
    }

    /// The surname, in the form for the gender.
    pub fn surname(&self) -> &'static str {
        self.surname.as_str()
    }

    /// The title before the name, if any.
    pub fn title_before(&self) -> Option<&'static str> {
        let index = usize::from(self.title_before).checked_sub(1)?;
        Some(tables::TITLES_BEFORE[index])
    }

    /// The title after the name, if any.
    pub fn title_after(&self) -> Option<&'static str> {
        let index = usize::from(self.title_after).checked_sub(1)?;
        Some(tables::TITLES_AFTER[index])
    }

    #[inline(always)]
    pub(super) fn given_text(&self) -> Text {
        self.given
    }

    /// The given name in lower case without diacritics.
    #[inline(always)]
    pub(super) fn ascii_given(&self) -> Text {
        self.ascii_given
    }

    /// The surname in lower case without diacritics.
    #[inline(always)]
    pub(super) fn ascii_surname(&self) -> Text {
        self.ascii_surname
    }
}

/// The maximum length of a given name and of a surname, in bytes.
pub(super) const LONGEST_NAME: usize = 32;

/// `Ing. Jan Novák, Ph.D.`
impl WriteText for PersonName {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        tables::NAME_PREFIXES.write(usize::from(self.title_before), out);
        self.given.write::<LONGEST_NAME>(out);
        out.push_ascii(b' ');
        self.surname.write::<LONGEST_NAME>(out);
        tables::NAME_SUFFIXES.write(usize::from(self.title_after), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_parts_in_their_order() {
        let number =
            |titles: &[&str], title| titles.iter().position(|known| *known == title).unwrap() as u16 + 1;
        let women = tables::MALE_GIVEN_NAMES.len();
        let name = PersonName::new(Gender::Female, women, 0, 0);
        assert_eq!(
            (name.given(), name.surname()),
            ("Jana", "Nováková"),
            "the commonest names"
        );
        assert_eq!(name.to_string(), "Jana Nováková");
        let titles = number(tables::TITLES_BEFORE, "Ing.") << 8 | number(tables::TITLES_AFTER, "Ph.D.");
        let name = PersonName::new(Gender::Male, 0, 0, titles);
        assert_eq!(name.to_string(), format!("Ing. {} Novák, Ph.D.", name.given()));
        assert_eq!(name.ascii_surname().as_str(), "novak");
        let name = PersonName::new(Gender::Male, 0, 2, 0);
        assert_eq!(
            (name.surname(), name.ascii_surname().as_str()),
            ("Novotný", "novotny")
        );
    }
}
