//! People's names: given name by decade of birth, surname by frequency, and the titles that education, age and gender bring.

use chrono::Datelike;
use fake::Dummy;
use rand::RngExt;

use super::occupation::Career;
use super::person::{AGE_COUNT, BirthDate, Gender, index_of_age};
use super::tables;
use crate::text::{Cursor, WriteText, text_value};

/// The first decade of birth in the tables of given names.
const FIRST_DECADE: i32 = 1930;

/// A person's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersonName {
    gender: Gender,
    given: u16,
    surname: u16,
    /// Numbers of titles, from 1; 0 for none.
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
        let decade = ((birth.date().year() - FIRST_DECADE) / 10) as usize;
        let given = match gender {
            Gender::Male => tables::MALE_GIVEN_CHOICES.pick(decade, rng.next_u64()),
            Gender::Female => tables::FEMALE_GIVEN_CHOICES.pick(decade, rng.next_u64()),
        };
        let surname = tables::SURNAME_CHOICES.pick(0, rng.next_u64());
        let titles = (2 * career.education() + gender.index()) * AGE_COUNT + index_of_age(career.age());
        let titles = tables::TITLES.pick(titles, rng.next_u64());
        Self {
            gender,
            given: given as u16,
            surname: surname as u16,
            title_before: (titles >> 8) as u8,
            title_after: titles as u8,
        }
    }
}

impl PersonName {
    /// The gender that both names agree in.
    pub fn gender(&self) -> Gender {
        self.gender
    }

    /// The given name.
    pub fn given(&self) -> &'static str {
        let given = usize::from(self.given);
        match self.gender {
            Gender::Male => tables::MALE_GIVEN.get(given),
            Gender::Female => tables::FEMALE_GIVEN.get(given),
        }
    }

    /// The surname in the form of the gender.
    pub fn surname(&self) -> &'static str {
        let surname = usize::from(self.surname);
        match self.gender {
            Gender::Male => tables::MALE_SURNAMES.get(surname),
            Gender::Female => tables::FEMALE_SURNAMES.get(surname),
        }
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

    /// Indices of the given name and the surname in the tables of the gender.
    pub(super) fn indices(&self) -> (usize, usize) {
        (usize::from(self.given), usize::from(self.surname))
    }

    /// Appends the given name.
    #[inline]
    pub(super) fn write_given(&self, out: &mut Cursor<'_>) {
        match self.gender {
            Gender::Male => tables::MALE_GIVEN.write(usize::from(self.given), out),
            Gender::Female => tables::FEMALE_GIVEN.write(usize::from(self.given), out),
        }
    }
}

/// `Ing. Jan Novák, Ph.D.`
impl WriteText for PersonName {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        if let Some(title) = self.title_before() {
            out.push_str(title);
            out.push_ascii(b' ');
        }
        self.write_given(out);
        out.push_ascii(b' ');
        match self.gender {
            Gender::Male => tables::MALE_SURNAMES.write(usize::from(self.surname), out),
            Gender::Female => tables::FEMALE_SURNAMES.write(usize::from(self.surname), out),
        }
        if let Some(title) = self.title_after() {
            out.push_str(", ");
            out.push_str(title);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_parts_in_their_order() {
        let number =
            |titles: &[&str], title| titles.iter().position(|known| *known == title).unwrap() as u8 + 1;
        let name = PersonName {
            gender: Gender::Female,
            given: 0,
            surname: 0,
            title_before: 0,
            title_after: 0,
        };
        let (given, surname) = (name.given(), name.surname());
        assert_eq!((given, surname), ("Jana", "Nováková"), "the commonest names");
        assert_eq!(name.to_string(), "Jana Nováková");
        let name = PersonName {
            title_before: number(tables::TITLES_BEFORE, "Ing."),
            title_after: number(tables::TITLES_AFTER, "Ph.D."),
            gender: Gender::Male,
            ..name
        };
        assert_eq!(name.to_string(), format!("Ing. {} Novák, Ph.D.", name.given()));
    }
}
