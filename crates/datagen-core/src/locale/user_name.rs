//! User names derived from people's names: `jan.novak84`, `novakj`.

use fake::Dummy;
use rand::RngExt;

use super::name::{LONGEST_NAME, PersonName};
use super::person::BirthDate;
use super::tables::Text;
use crate::rng::{halves, scale32};
use crate::text::{Cursor, WriteText, text_value};

/// A user name: lower-case ASCII letters, digits and dots.
#[derive(Clone, Copy, Debug)]
pub struct UserName {
    name: PersonName,
    form: Form,
    number: Number,
}
text_value!(UserName);

/// The parts of the name that are written, in this order, as indices into [`UserName::parts`].
#[derive(Clone, Copy, Debug)]
struct Form {
    first: u8,
    dot: bool,
    second: u8,
}

const GIVEN: u8 = 0;
const SURNAME: u8 = 1;
const INITIAL: u8 = 2;

/// The forms; each entry stands for a tenth of the user names.
static FORMS: [Form; 10] = {
    const fn form(first: u8, dot: bool, second: u8) -> Form {
        Form { first, dot, second }
    }
    // `jan.novak`, `novak.jan`, `jannovak`, `jnovak` and `novakj`
    [
        form(GIVEN, true, SURNAME),
        form(GIVEN, true, SURNAME),
        form(GIVEN, true, SURNAME),
        form(GIVEN, true, SURNAME),
        form(SURNAME, true, GIVEN),
        form(GIVEN, false, SURNAME),
        form(GIVEN, false, SURNAME),
        form(INITIAL, false, SURNAME),
        form(INITIAL, false, SURNAME),
        form(SURNAME, false, INITIAL),
    ]
};

/// The number after the name.
#[derive(Clone, Copy, Debug)]
enum Number {
    /// The last two digits of the year of birth: `84`.
    Year(u16),
    /// A number from 1 to 999, as added when a name is already taken.
    Free(u16),
    None,
}

/// The user name of a person with this name and date of birth.
#[derive(Clone, Copy, Debug)]
pub struct UserNameOf(pub PersonName, pub BirthDate);

impl Dummy<UserNameOf> for UserName {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&UserNameOf(name, birth): &UserNameOf, rng: &mut R) -> Self {
        let (of_form, of_number) = halves(rng);
        let tenths = scale32(of_form, 100);
        let number = match tenths / 10 {
            0..4 => Number::Year(birth.year() % 100),
            4..7 => Number::Free(1 + scale32(of_number, 999) as u16),
            _ => Number::None,
        };
        Self {
            name,
            form: FORMS[(tenths % 10) as usize],
            number,
        }
    }
}

impl UserName {
    #[inline(always)]
    fn parts(&self) -> [Text; 3] {
        let given = self.name.ascii_given();
        [given, self.name.ascii_surname(), given.initial()]
    }
}

impl WriteText for UserName {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        let parts = self.parts();
        parts[usize::from(self.form.first)].write::<LONGEST_NAME>(out);
        out.push_ascii_if(b'.', self.form.dot);
        parts[usize::from(self.form.second)].write::<LONGEST_NAME>(out);
        match self.number {
            Number::Year(year) => out.push_digits::<2>(u32::from(year)),
            Number::Free(number) => out.push_small_number_if(u32::from(number), true),
            Number::None => {}
        }
    }
}
