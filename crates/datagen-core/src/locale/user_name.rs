//! User names derived from people's names: `jan.novak84`, `novakj`.

use chrono::Datelike;
use fake::Dummy;
use rand::RngExt;

use super::name::PersonName;
use super::person::{BirthDate, Gender};
use super::tables;
use crate::rng::below;
use crate::text::{Cursor, WriteText, text_value};

/// A user name: lower-case ASCII letters, digits and dots.
#[derive(Clone, Copy, Debug)]
pub struct UserName {
    gender: Gender,
    given: u16,
    surname: u16,
    form: Form,
    number: Option<Number>,
}
text_value!(UserName);

#[derive(Clone, Copy, Debug)]
enum Form {
    /// `jan.novak`
    GivenDotSurname,
    /// `novak.jan`
    SurnameDotGiven,
    /// `jannovak`
    GivenSurname,
    /// `jnovak`
    InitialSurname,
    /// `novakj`
    SurnameInitial,
}

#[derive(Clone, Copy, Debug)]
enum Number {
    /// The year of birth, two digits: `84`.
    Year(u32),
    /// What was still free: 1 to 999.
    Free(u32),
}

/// The user name of a person with this name and date of birth.
#[derive(Clone, Copy, Debug)]
pub struct UserNameOf(pub PersonName, pub BirthDate);

impl Dummy<UserNameOf> for UserName {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&UserNameOf(name, birth): &UserNameOf, rng: &mut R) -> Self {
        let (given, surname) = name.indices();
        let draw = below(rng, 10 * 10 * 999) as u32;
        let (form, number, free) = (draw % 10, draw / 10 % 10, draw / 100);
        let form = match form {
            0..4 => Form::GivenDotSurname,
            4 => Form::SurnameDotGiven,
            5..7 => Form::GivenSurname,
            7..9 => Form::InitialSurname,
            _ => Form::SurnameInitial,
        };
        let number = match number {
            0..4 => Some(Number::Year((birth.date().year() % 100) as u32)),
            4..7 => Some(Number::Free(1 + free)),
            _ => None,
        };
        Self {
            gender: name.gender(),
            given: given as u16,
            surname: surname as u16,
            form,
            number,
        }
    }
}

impl UserName {
    #[inline]
    fn write_given(&self, out: &mut Cursor<'_>) {
        match self.gender {
            Gender::Male => tables::MALE_GIVEN_ASCII.write(usize::from(self.given), out),
            Gender::Female => tables::FEMALE_GIVEN_ASCII.write(usize::from(self.given), out),
        }
    }

    #[inline]
    fn write_surname(&self, out: &mut Cursor<'_>) {
        match self.gender {
            Gender::Male => tables::MALE_SURNAMES_ASCII.write(usize::from(self.surname), out),
            Gender::Female => tables::FEMALE_SURNAMES_ASCII.write(usize::from(self.surname), out),
        }
    }

    fn initial(&self) -> u8 {
        match self.gender {
            Gender::Male => tables::MALE_GIVEN_ASCII.first_byte(usize::from(self.given)),
            Gender::Female => tables::FEMALE_GIVEN_ASCII.first_byte(usize::from(self.given)),
        }
    }
}

impl WriteText for UserName {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        match self.form {
            Form::GivenDotSurname => {
                self.write_given(out);
                out.push_ascii(b'.');
                self.write_surname(out);
            }
            Form::SurnameDotGiven => {
                self.write_surname(out);
                out.push_ascii(b'.');
                self.write_given(out);
            }
            Form::GivenSurname => {
                self.write_given(out);
                self.write_surname(out);
            }
            Form::InitialSurname => {
                out.push_ascii(self.initial());
                self.write_surname(out);
            }
            Form::SurnameInitial => {
                self.write_surname(out);
                out.push_ascii(self.initial());
            }
        }
        match self.number {
            Some(Number::Year(year)) => out.push_digits::<2>(year),
            Some(Number::Free(number)) => out.push_number(u64::from(number)),
            None => {}
        }
    }
}
