//! The Czech locale: plausible people, places, phone numbers, texts.
//!
//! Two layers:
//! - [`CsCz`] is a locale of the `fake` crate (its `Data` trait), for what `fake` already knows how to make;
//! - the modules are fakers for what it has no notion of. Each type implements `fake::Dummy`: with `Faker`
//!   where it stands alone ([`place::Municipality`]), with what it must agree with where it does not
//!   ([`phone::PhoneNumber`] with its region, [`name::PersonName`] with gender and age).
//!
//! The lists are in `data/`, one a file with its source; the build script makes constant tables of them.

pub mod birth_number;
pub mod name;
pub mod network;
pub mod occupation;
pub mod person;
pub mod phone;
pub mod place;
mod tables;
pub mod user_name;
pub mod words;

use fake::locales::Data;

/// Czech (Czechia), as a locale of the `fake` crate: `FirstName(CsCz)`, `Word(CsCz)`, ….
///
/// `fake` draws uniformly and field by field; the generators use the weighted fakers of this module's
/// children instead, which agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct CsCz;

impl Data for CsCz {
    const LOREM_WORD: &'static [&'static str] = tables::WORDS;
    const NAME_FIRST_NAME: &'static [&'static str] = tables::MALE_GIVEN_NAMES;
    const NAME_LAST_NAME: &'static [&'static str] = tables::MALE_SURNAMES;
    const NAME_TITLE: &'static [&'static str] = tables::TITLES_BEFORE;
    const NAME_SUFFIX: &'static [&'static str] = tables::TITLES_AFTER;
    const JOB_POSITION: &'static [&'static str] = tables::MALE_OCCUPATIONS;
    const COMPANY_PROFESSION: &'static [&'static str] = tables::MALE_OCCUPATIONS;
    const ADDRESS_STATE: &'static [&'static str] = tables::REGION_NAMES;
    const ADDRESS_POSTCODE_FORMATS: &'static [&'static str] = &["^## ##"];
    const PHONE_NUMBER_FORMATS: &'static [&'static str] = &["2## ### ###", "3## ### ###", "5## ### ###"];
    const PHONE_CELL_NUMBER_FORMATS: &'static [&'static str] = &["60# ### ###", "72# ### ###", "77# ### ###"];
    const INTERNET_USER_AGENT: &'static [&'static str] = tables::USER_AGENTS;
    const INTERNET_DOMAIN_SUFFIX: &'static [&'static str] = &["cz"];
    const INTERNET_FREE_EMAIL_PROVIDER: &'static [&'static str] = &["seznam.cz", "email.cz", "centrum.cz"];
}

#[cfg(test)]
pub(crate) fn test_rng(id: u64) -> crate::rng::RecordRng {
    crate::rng::RecordSeed::new(0, crate::rng::Kind::User).rng(id)
}

#[cfg(test)]
mod tests {
    use fake::Fake;
    use fake::faker::internet::raw::UserAgent;
    use fake::faker::lorem::raw::Word;
    use fake::faker::name::raw::FirstName;

    use super::*;

    #[test]
    fn fake_speaks_czech() {
        let rng = &mut test_rng(0);
        let name: &str = FirstName(CsCz).fake_with_rng(rng);
        assert!(tables::MALE_GIVEN_NAMES.contains(&name));
        let word: &str = Word(CsCz).fake_with_rng(rng);
        assert!(tables::WORDS.contains(&word));
        let agent: &str = UserAgent(CsCz).fake_with_rng(rng);
        assert!(tables::USER_AGENTS.contains(&agent));
    }
}
