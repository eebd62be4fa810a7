//! People's names: given name and surname of one gender, by frequency, with an academic title now and then.

use fake::Dummy;
use rand::RngExt;

use super::person::Gender;
use super::tables;
use crate::rng::Alias;
use crate::text::{Cursor, Piece, WriteText, text_value};

const MALE_COUNT: usize = tables::MALE_GIVEN_NAMES.len();
const FEMALE_COUNT: usize = tables::FEMALE_GIVEN_NAMES.len();
const SURNAME_COUNT: usize = tables::SURNAME_ALIAS.len();

static MALE_GIVEN: [Piece<32>; MALE_COUNT] = Piece::list(tables::MALE_GIVEN_NAMES);
static FEMALE_GIVEN: [Piece<32>; FEMALE_COUNT] = Piece::list(tables::FEMALE_GIVEN_NAMES);
static MALE_SURNAMES: [Piece<32>; SURNAME_COUNT] = Piece::list(tables::MALE_SURNAMES);
static FEMALE_SURNAMES: [Piece<32>; SURNAME_COUNT] = Piece::list(tables::FEMALE_SURNAMES);

static MALE_WEIGHTS: Alias = Alias::new(tables::MALE_GIVEN_NAME_ALIAS);
static FEMALE_WEIGHTS: Alias = Alias::new(tables::FEMALE_GIVEN_NAME_ALIAS);
static SURNAME_WEIGHTS: Alias = Alias::new(tables::SURNAME_ALIAS);
static BEFORE_WEIGHTS: Alias = Alias::new(tables::TITLES_BEFORE_ALIAS);
static AFTER_WEIGHTS: Alias = Alias::new(tables::TITLES_AFTER_ALIAS);

/// A person's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersonName {
    gender: Gender,
    given: u16,
    surname: u16,
    /// Indices of titles; `None` for the most of us.
    title_before: Option<u16>,
    title_after: Option<u16>,
}
text_value!(PersonName);

/// The name of a person of this gender and age (in years, for the titles that take time to earn).
#[derive(Clone, Copy, Debug)]
pub struct NameOf(pub Gender, pub u8);

impl Dummy<NameOf> for PersonName {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&NameOf(gender, age): &NameOf, rng: &mut R) -> Self {
        let given = match gender {
            Gender::Male => MALE_WEIGHTS.pick(rng),
            Gender::Female => FEMALE_WEIGHTS.pick(rng),
        };
        let surname = SURNAME_WEIGHTS.pick(rng);
        let title_before = title(BEFORE_WEIGHTS.pick(rng), tables::TITLES_BEFORE_MIN_AGE, age);
        let title_after = title(AFTER_WEIGHTS.pick(rng), tables::TITLES_AFTER_MIN_AGE, age)
            .filter(|&after| can_follow(title_before, after));
        Self {
            gender,
            given: given as u16,
            surname: surname as u16,
            title_before,
            title_after,
        }
    }
}

/// The title that was drawn, unless none was (the index after the last) or the person is too young for it.
fn title(index: usize, min_ages: &[u8], age: u8) -> Option<u16> {
    (*min_ages.get(index)? <= age).then_some(index as u16)
}

/// Titles before the name with which no doctorate is earned.
const BACHELORS: [&str; 2] = ["Bc.", "BcA."];

/// Titles after the name that take a master's degree (Act No. 111/1998 Coll., section 47).
const DOCTORATES: [&str; 5] = ["Ph.D.", "Th.D.", "CSc.", "DrSc.", "DSc."];

/// Whether one person has both titles: all after the name but DiS. are earned after one that stands before it.
fn can_follow(before: Option<u16>, after: u16) -> bool {
    let after = tables::TITLES_AFTER[usize::from(after)];
    match before.map(|index| tables::TITLES_BEFORE[usize::from(index)]) {
        None => after == "DiS.",
        Some(before) => !(BACHELORS.contains(&before) && DOCTORATES.contains(&after)),
    }
}

impl PersonName {
    /// The gender that both names agree in.
    pub fn gender(&self) -> Gender {
        self.gender
    }

    /// The given name.
    pub fn given(&self) -> &'static str {
        match self.gender {
            Gender::Male => tables::MALE_GIVEN_NAMES[usize::from(self.given)],
            Gender::Female => tables::FEMALE_GIVEN_NAMES[usize::from(self.given)],
        }
    }

    /// The surname in the form of the gender.
    pub fn surname(&self) -> &'static str {
        match self.gender {
            Gender::Male => tables::MALE_SURNAMES[usize::from(self.surname)],
            Gender::Female => tables::FEMALE_SURNAMES[usize::from(self.surname)],
        }
    }

    /// The title before the name, if any.
    pub fn title_before(&self) -> Option<&'static str> {
        self.title_before
            .map(|index| tables::TITLES_BEFORE[usize::from(index)])
    }

    /// The title after the name, if any.
    pub fn title_after(&self) -> Option<&'static str> {
        self.title_after
            .map(|index| tables::TITLES_AFTER[usize::from(index)])
    }

    /// Indices of the given name and the surname in the tables of the gender.
    pub(super) fn indices(&self) -> (usize, usize) {
        (usize::from(self.given), usize::from(self.surname))
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
        let (given, surname) = self.indices();
        match self.gender {
            Gender::Male => {
                out.push_piece(&MALE_GIVEN[given]);
                out.push_ascii(b' ');
                out.push_piece(&MALE_SURNAMES[surname]);
            }
            Gender::Female => {
                out.push_piece(&FEMALE_GIVEN[given]);
                out.push_ascii(b' ');
                out.push_piece(&FEMALE_SURNAMES[surname]);
            }
        }
        if let Some(title) = self.title_after() {
            out.push_str(", ");
            out.push_str(title);
        }
    }
}

#[cfg(test)]
mod tests {
    use fake::Fake;

    use super::*;
    use crate::locale::test_rng;

    #[test]
    fn frequencies_follow_the_lists_and_titles_the_age() {
        let (mut jan, mut novak, mut titled) = (0, 0, 0);
        for id in 0..100_000 {
            let name: PersonName = NameOf(Gender::Male, 20).fake_with_rng(&mut test_rng(id));
            jan += u32::from(name.given() == "Jan");
            novak += u32::from(name.surname() == "Novák");
            assert_eq!(name.title_before(), None, "nobody has a degree at 20");
            let name: PersonName = NameOf(Gender::Female, 60).fake_with_rng(&mut test_rng(id));
            titled += u32::from(name.title_before().is_some());
        }
        // Shares by the lists: Jan 5.8 %, Novák 2.0 %, a title before the name 15.2 %.
        assert!((5_400..6_200).contains(&jan), "{jan}");
        assert!((1_800..2_200).contains(&novak), "{novak}");
        assert!((14_700..15_700).contains(&titled), "{titled}");
    }

    #[test]
    fn titles_agree_with_each_other() {
        let mut both = 0;
        for id in 0..200_000 {
            let name: PersonName = NameOf(Gender::Male, 60).fake_with_rng(&mut test_rng(id));
            let Some(after) = name.title_after() else { continue };
            match name.title_before() {
                None => assert_eq!(after, "DiS.", "{name}"),
                Some("Bc." | "BcA.") => assert!(!DOCTORATES.contains(&after), "{name}"),
                Some(_) => both += u32::from(after == "Ph.D."),
            }
        }
        assert!(both > 50, "{both}");
    }

    #[test]
    fn the_text_has_the_parts_in_their_order() {
        let name = PersonName {
            gender: Gender::Female,
            given: 0,
            surname: 0,
            title_before: None,
            title_after: None,
        };
        assert_eq!(name.to_string(), "Jana Nováková");
        let name = PersonName {
            title_before: Some(0),
            title_after: Some(1),
            gender: Gender::Male,
            ..name
        };
        assert_eq!(name.to_string(), "Ing. Jiří Novák, Ph.D.");
    }
}
