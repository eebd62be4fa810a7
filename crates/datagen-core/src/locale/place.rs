//! Where people live: municipalities in their regions, weighted by population, and addresses in them.

use fake::{Dummy, Faker};
use rand::RngExt;

use super::tables;
use crate::rng::{Alias, below, chance};
use crate::text::{Cursor, Piece, WriteText, text_value};

const MUNICIPALITY_COUNT: usize = tables::MUNICIPALITY_NAMES.len();
const STREET_COUNT: usize = tables::STREET_NAMES.len();

static MUNICIPALITIES: [Piece<40>; MUNICIPALITY_COUNT] = Piece::list(tables::MUNICIPALITY_NAMES);
static MUNICIPALITY_WEIGHTS: Alias = Alias::new(tables::MUNICIPALITY_ALIAS);
static STREETS: [Piece<32>; STREET_COUNT] = Piece::list(tables::STREET_NAMES);
static STREET_WEIGHTS: Alias = Alias::new(tables::STREET_ALIAS);

/// One of the 14 regions (kraje), Prague included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region(u8);
text_value!(Region);

impl Region {
    /// The official name: `Jihomoravský kraj`.
    pub fn name(self) -> &'static str {
        tables::REGION_NAMES[usize::from(self.0)]
    }

    /// Leading digits of the region's fixed telephone lines.
    pub fn landline_prefixes(self) -> &'static [u16] {
        let start = |region: u8| usize::from(tables::LANDLINE_STARTS[usize::from(region)]);
        &tables::LANDLINE_PREFIXES[start(self.0)..start(self.0 + 1)]
    }
}

impl WriteText for Region {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        out.push_str(self.name());
    }
}

/// A municipality: Prague, a town or a village.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Municipality(u16);
text_value!(Municipality);

/// Drawn in proportion to the population.
impl Dummy<Faker> for Municipality {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(_: &Faker, rng: &mut R) -> Self {
        Self(MUNICIPALITY_WEIGHTS.pick(rng) as u16)
    }
}

impl Municipality {
    /// All of the list.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MUNICIPALITY_COUNT as u16).map(Self)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        tables::MUNICIPALITY_NAMES[usize::from(self.0)]
    }

    /// The region it lies in.
    pub fn region(self) -> Region {
        Region(tables::MUNICIPALITY_REGIONS[usize::from(self.0)])
    }

    /// Inhabitants.
    pub fn population(self) -> u32 {
        tables::MUNICIPALITY_POPULATIONS[usize::from(self.0)]
    }
}

impl WriteText for Municipality {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        out.push_piece(&MUNICIPALITIES[usize::from(self.0)]);
    }
}

/// An address within a municipality, in one of the forms that Czechs write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreetAddress {
    /// `č.p. 88`: the house's number in the village, where streets have no names.
    House(u32),
    /// `Nádražní 45`.
    Street {
        /// Index of the street's name.
        street: u16,
        /// The descriptive number (číslo popisné), unique in the municipality.
        house: u32,
    },
    /// `Nádražní 123/45`, sometimes `123/45a`.
    StreetWithOrientation {
        /// Index of the street's name.
        street: u16,
        /// The descriptive number.
        house: u32,
        /// The orientation number (číslo orientační), counted along the street.
        orientation: u16,
        /// The letter of a house that was built between two others.
        letter: Option<u8>,
    },
}
text_value!(StreetAddress);

/// An address in this municipality.
#[derive(Clone, Copy, Debug)]
pub struct AddressIn(pub Municipality);

/// Below this population half of the addresses have no street.
const VILLAGE: u32 = 2_000;
/// From this population on houses have orientation numbers, mostly.
const TOWN: u32 = 8_000;

impl Dummy<AddressIn> for StreetAddress {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&AddressIn(place): &AddressIn, rng: &mut R) -> Self {
        let population = place.population();
        // A house for three people, up to the four-digit numbers of the big cities' districts.
        let house = 1 + below(rng, u64::from((population / 3).clamp(30, 3_000))) as u32;
        if population < VILLAGE && chance(rng, 1, 2) {
            return Self::House(house);
        }
        let street = STREET_WEIGHTS.pick(rng) as u16;
        if population < TOWN || chance(rng, 1, 4) {
            return Self::Street { street, house };
        }
        let draw = below(rng, 120 * 16) as u16;
        let (orientation, variant) = (1 + draw / 16, draw % 16);
        let letter = (variant == 0).then(|| b'a' + (orientation % 3) as u8);
        Self::StreetWithOrientation {
            street,
            house,
            orientation,
            letter,
        }
    }
}

impl WriteText for StreetAddress {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        match *self {
            Self::House(house) => {
                out.push_str("č.p. ");
                out.push_number(u64::from(house));
            }
            Self::Street { street, house } => {
                out.push_piece(&STREETS[usize::from(street)]);
                out.push_ascii(b' ');
                out.push_number(u64::from(house));
            }
            Self::StreetWithOrientation {
                street,
                house,
                orientation,
                letter,
            } => {
                out.push_piece(&STREETS[usize::from(street)]);
                out.push_ascii(b' ');
                out.push_number(u64::from(house));
                out.push_ascii(b'/');
                out.push_number(u64::from(orientation));
                if let Some(letter) = letter {
                    out.push_ascii(letter);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use fake::Fake;

    use super::*;
    use crate::locale::test_rng;

    #[test]
    fn every_region_has_towns_and_landlines() {
        let mut towns: HashMap<Region, u32> = HashMap::new();
        for place in Municipality::all() {
            *towns.entry(place.region()).or_default() += 1;
            assert!(place.population() > 0);
        }
        assert_eq!(towns.len(), 14);
        assert!(towns.keys().all(|region| !region.landline_prefixes().is_empty()));
        let total: usize = towns.keys().map(|region| region.landline_prefixes().len()).sum();
        assert_eq!(total, tables::LANDLINE_PREFIXES.len());
    }

    #[test]
    fn cities_are_drawn_by_population() {
        let listed: f64 = Municipality::all()
            .map(|place| f64::from(place.population()))
            .sum();
        let mut drawn: HashMap<Municipality, u32> = HashMap::new();
        for id in 0..200_000 {
            *drawn.entry(Faker.fake_with_rng(&mut test_rng(id))).or_default() += 1;
        }
        for name in ["Praha", "Brno", "Ostrava", "Tábor"] {
            let place = Municipality::all().find(|place| place.name() == name).unwrap();
            let expected = 200_000.0 * f64::from(place.population()) / listed;
            let got = f64::from(drawn[&place]);
            assert!(
                (got - expected).abs() < 5.0 * expected.sqrt(),
                "{name}: {got}, expected {expected}"
            );
        }
    }

    #[test]
    fn addresses_fit_the_size_of_the_place() {
        let place = |name: &str| Municipality::all().find(|place| place.name() == name).unwrap();
        for id in 0..2_000 {
            let village: StreetAddress = AddressIn(place("Adršpach")).fake_with_rng(&mut test_rng(id));
            assert!(
                !matches!(village, StreetAddress::StreetWithOrientation { .. }),
                "{village}"
            );
            let city: StreetAddress = AddressIn(place("Praha")).fake_with_rng(&mut test_rng(id));
            assert!(!matches!(city, StreetAddress::House(_)), "{city}");
        }
        let address = StreetAddress::StreetWithOrientation {
            street: 2,
            house: 123,
            orientation: 45,
            letter: Some(b'a'),
        };
        assert_eq!(address.to_string(), "Nádražní 123/45a");
        assert_eq!(StreetAddress::House(88).to_string(), "č.p. 88");
    }
}
