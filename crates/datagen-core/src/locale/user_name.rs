//! User names derived from people's names: `jan.novak84`, `novakj`.

use chrono::Datelike;
use fake::Dummy;
use rand::RngExt;

use super::name::PersonName;
use super::person::{BirthDate, Gender};
use super::tables;
use crate::rng::below;
use crate::text::{Cursor, Piece, WriteText, text_value};

static MALE_GIVEN: [Piece<32>; tables::MALE_GIVEN_NAMES_ASCII.len()] =
    Piece::list(tables::MALE_GIVEN_NAMES_ASCII);
static FEMALE_GIVEN: [Piece<32>; tables::FEMALE_GIVEN_NAMES_ASCII.len()] =
    Piece::list(tables::FEMALE_GIVEN_NAMES_ASCII);
static MALE_SURNAMES: [Piece<32>; tables::MALE_SURNAMES_ASCII.len()] =
    Piece::list(tables::MALE_SURNAMES_ASCII);
static FEMALE_SURNAMES: [Piece<32>; tables::FEMALE_SURNAMES_ASCII.len()] =
    Piece::list(tables::FEMALE_SURNAMES_ASCII);

/// A user name: lower-case ASCII letters, digits and dots.
#[derive(Clone, Copy, Debug)]
pub struct UserName {
    given: &'static Piece<32>,
    surname: &'static Piece<32>,
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
        let (given, surname) = match name.gender() {
            Gender::Male => (&MALE_GIVEN[given], &MALE_SURNAMES[surname]),
            Gender::Female => (&FEMALE_GIVEN[given], &FEMALE_SURNAMES[surname]),
        };
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
            given,
            surname,
            form,
            number,
        }
    }
}

impl WriteText for UserName {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        let initial = self.given.first_byte();
        match self.form {
            Form::GivenDotSurname => {
                out.push_piece(self.given);
                out.push_ascii(b'.');
                out.push_piece(self.surname);
            }
            Form::SurnameDotGiven => {
                out.push_piece(self.surname);
                out.push_ascii(b'.');
                out.push_piece(self.given);
            }
            Form::GivenSurname => {
                out.push_piece(self.given);
                out.push_piece(self.surname);
            }
            Form::InitialSurname => {
                out.push_ascii(initial);
                out.push_piece(self.surname);
            }
            Form::SurnameInitial => {
                out.push_piece(self.surname);
                out.push_ascii(initial);
            }
        }
        match self.number {
            Some(Number::Year(year)) => out.push_digits::<2>(year),
            Some(Number::Free(number)) => out.push_number(u64::from(number)),
            None => {}
        }
    }
}
