//! The Czech locale: plausible people, places, phone numbers, texts.
//!
//! Two layers:
//! - [`CsCz`] is a locale of the `fake` crate (its `Data` trait), for the data that `fake` can already generate;
//! - the modules are fakers for all other data. Each type implements `fake::Dummy`: with `Faker` if it stands alone
//!   ([`place::Municipality`]), otherwise with the facts that it must agree with ([`phone::PhoneNumber`] with region
//!   and age, [`name::PersonName`] with career and date of birth).
//!
//! The lists are in `data/`. Each file names its source. The build script compiles them into tables.

pub mod advertisement;
pub mod birth_number;
pub mod description;
pub mod name;
pub mod network;
pub mod occupation;
pub mod person;
pub mod phone;
pub mod place;
pub(crate) mod tables;
pub mod user_name;

use fake::locales::Data;

/// Czech (Czechia), as a locale of the `fake` crate: `FirstName(CsCz)`, `Word(CsCz)`, ….
///
/// `fake` draws uniformly and field by field; the generators use the weighted fakers of the submodules instead, whose
/// results agree with each other. Data that this locale does not define (companies, currencies, countries) are
/// English, as in all locales of `fake`.
#[derive(Clone, Copy, Debug)]
pub struct CsCz;

impl Data for CsCz {
    const LOREM_WORD: &'static [&'static str] = tables::WORDS;
    const NAME_FIRST_NAME: &'static [&'static str] = tables::MALE_GIVEN_NAMES;
    const NAME_LAST_NAME: &'static [&'static str] = tables::COMMON_SURNAMES;
    const NAME_TITLE: &'static [&'static str] = tables::TITLES_BEFORE;
    const NAME_SUFFIX: &'static [&'static str] = tables::TITLES_AFTER;
    const JOB_POSITION: &'static [&'static str] = tables::MALE_OCCUPATION_NAMES;
    const COMPANY_PROFESSION: &'static [&'static str] = tables::MALE_OCCUPATION_NAMES;
    const ADDRESS_STATE: &'static [&'static str] = tables::REGION_NAMES;
    // The first digit stands for a former region; 8 and 9 are not used.
    const ADDRESS_POSTCODE_FORMATS: &'static [&'static str] = &[
        "1## ##", "2## ##", "3## ##", "4## ##", "5## ##", "6## ##", "7## ##",
    ];
    const PHONE_NUMBER_FORMATS: &'static [&'static str] = tables::LANDLINE_FORMATS;
    const PHONE_CELL_NUMBER_FORMATS: &'static [&'static str] = tables::MOBILE_FORMATS;
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
    use fake::faker::address::raw::{PostCode, StateName};
    use fake::faker::company::raw::Profession;
    use fake::faker::internet::raw::{DomainSuffix, FreeEmailProvider, UserAgent};
    use fake::faker::job::raw::Position;
    use fake::faker::lorem::raw::Word;
    use fake::faker::name::raw::{FirstName, LastName, Suffix, Title};
    use fake::faker::phone_number::raw::{CellNumber, PhoneNumber};

    use super::*;

    #[test]
    fn fake_speaks_czech() {
        for id in 0..1_000 {
            let rng = &mut test_rng(id);
            let of_lists: [(&str, &[&str]); 11] = [
                (FirstName(CsCz).fake_with_rng(rng), tables::MALE_GIVEN_NAMES),
                (LastName(CsCz).fake_with_rng(rng), tables::COMMON_SURNAMES),
                (Title(CsCz).fake_with_rng(rng), tables::TITLES_BEFORE),
                (Suffix(CsCz).fake_with_rng(rng), tables::TITLES_AFTER),
                (Position(CsCz).fake_with_rng(rng), tables::MALE_OCCUPATION_NAMES),
                (Profession(CsCz).fake_with_rng(rng), tables::MALE_OCCUPATION_NAMES),
                (StateName(CsCz).fake_with_rng(rng), tables::REGION_NAMES),
                (Word(CsCz).fake_with_rng(rng), tables::WORDS),
                (UserAgent(CsCz).fake_with_rng(rng), tables::USER_AGENTS),
                (DomainSuffix(CsCz).fake_with_rng(rng), &["cz"]),
                (
                    FreeEmailProvider(CsCz).fake_with_rng(rng),
                    &["seznam.cz", "email.cz", "centrum.cz"],
                ),
            ];
            for (value, list) in of_lists {
                assert!(list.contains(&value), "{value}");
            }

            let digits = |text: String| text.replace(' ', "").parse::<u32>().unwrap();
            let prefix = |number: u32| u16::try_from(number / 1_000_000).unwrap();
            let mobile = digits(CellNumber(CsCz).fake_with_rng(rng));
            assert!(tables::MOBILE_PREFIXES.contains(&prefix(mobile)), "{mobile}");
            let landline = digits(PhoneNumber(CsCz).fake_with_rng(rng));
            assert!(
                tables::LANDLINE_PREFIXES.contains(&prefix(landline)),
                "{landline}"
            );
            let post_code = digits(PostCode(CsCz).fake_with_rng(rng));
            assert!((10_000..80_000).contains(&post_code), "{post_code}");
        }
    }
}
