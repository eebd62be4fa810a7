//! A user of the shop: one JSON object per line in `users/users.json`.

use fake::{Fake, Faker};
use serde::Serialize;

use crate::locale::birth_number::{BirthNumber, BirthNumberOf};
use crate::locale::description::{Description, DescriptionOf};
use crate::locale::name::{NameOf, PersonName};
use crate::locale::occupation::{Career, CareerOf, Occupation};
use crate::locale::person::{BirthDate, BornIn, Gender, GenderAt, LifeStage, StageOf};
use crate::locale::phone::{PhoneNumber, PhoneOf};
use crate::locale::place::{AddressIn, Municipality, Region, StreetAddress};
use crate::locale::user_name::{UserName, UserNameOf};
use crate::rng::{Kind, RecordSeed};
use crate::text::{TextBuf, WriteText};
use crate::world::Population;

/// A plausible person. The fields are in the order of the JSON object.
#[derive(Clone, Debug, Serialize)]
pub struct User {
    /// From 0.
    pub id: u64,
    /// The given name and surname, both for the same gender, with titles.
    pub name: PersonName,
    /// The municipality.
    pub city: Municipality,
    /// The address in the municipality.
    pub street_address: StreetAddress,
    /// The number of a mobile phone, or of a fixed line in the region.
    pub phone_number: PhoneNumber,
    /// It agrees with the gender and the date of birth.
    pub birth_number: BirthNumber,
    /// A name derived from the person's name.
    pub user_name: UserName,
    /// The region of the city.
    pub administrative_unit: Region,
    /// About five sentences.
    pub description: Description,
    /// Three different jobs; the present one, or student or pensioner, is the first.
    pub jobs: [Occupation; 3],
}

/// The approximate length of a user's line in bytes (530 on average), for the size of buffers.
pub const EXPECTED_BYTES: usize = 540;

/// The maximum length of a user's line in bytes. This much space is reserved per record.
const MAX_BYTES: usize = 2_048;

/// The users of one seed.
#[derive(Clone, Debug)]
pub struct Users {
    seed: RecordSeed,
    population: Population,
}

impl Users {
    /// The users `0..count` of `seed`, at most 2^31. Their years of birth are facts of the world, which depend on
    /// `count` and not on `seed`.
    pub fn new(seed: u64, count: u64) -> Self {
        Self {
            seed: RecordSeed::new(seed, Kind::User),
            population: Population::new(count),
        }
    }

    /// User `id`.
    ///
    /// # Panics
    /// If there is no such user.
    #[inline]
    pub fn get(&self, id: u64) -> User {
        let rng = &mut self.seed.rng(id);
        let birth: BirthDate = BornIn(self.population.birth_year(id)).fake_with_rng(rng);
        let gender: Gender = GenderAt(birth.age()).fake_with_rng(rng);
        let stage: LifeStage = StageOf(gender, birth.age()).fake_with_rng(rng);
        let career: Career = CareerOf(gender, birth.age(), stage).fake_with_rng(rng);
        let name: PersonName = NameOf(birth, career).fake_with_rng(rng);
        let city: Municipality = Faker.fake_with_rng(rng);
        User {
            id,
            name,
            city,
            street_address: AddressIn(city).fake_with_rng(rng),
            phone_number: PhoneOf(city.region(), birth.age()).fake_with_rng(rng),
            birth_number: BirthNumberOf(gender, birth).fake_with_rng(rng),
            user_name: UserNameOf(name, birth).fake_with_rng(rng),
            administrative_unit: city.region(),
            description: DescriptionOf(name, career, city).fake_with_rng(rng),
            jobs: career.jobs(),
        }
    }
}

impl User {
    /// Appends the user as a line of JSON, including the line feed.
    #[inline]
    pub fn write_json_line(&self, out: &mut TextBuf) {
        out.append(MAX_BYTES, |out| {
            out.push_str("{\"id\":");
            out.push_number(self.id);
            out.push_str(",\"name\":\"");
            self.name.write_text(out);
            out.push_str("\",\"city\":\"");
            self.city.write_text(out);
            out.push_str("\",\"street_address\":\"");
            self.street_address.write_text(out);
            out.push_str("\",\"phone_number\":\"");
            self.phone_number.write_text(out);
            out.push_str("\",\"birth_number\":\"");
            self.birth_number.write_text(out);
            out.push_str("\",\"user_name\":\"");
            self.user_name.write_text(out);
            out.push_str("\",\"administrative_unit\":\"");
            self.administrative_unit.write_text(out);
            out.push_str("\",\"description\":\"");
            self.description.write_text(out);
            out.push_str("\",\"jobs\":[\"");
            self.jobs[0].write_text(out);
            out.push_str("\",\"");
            self.jobs[1].write_text(out);
            out.push_str("\",\"");
            self.jobs[2].write_text(out);
            out.push_str("\"]}\n");
        });
    }
}
