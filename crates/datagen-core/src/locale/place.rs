//! Where people live: municipalities in their regions, weighted by population, and addresses in them.

use fake::{Dummy, Faker};
use rand::RngExt;

use super::tables;
use crate::rng::{below, chance};
use crate::text::{Cursor, WriteText, text_value};

/// One of the 14 regions (kraje), Prague included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region(u8);
text_value!(Region);

impl Region {
    /// The place in the list of regions.
    #[inline]
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

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

/// Drawn by the population of the region and, within it, by its own.
impl Dummy<Faker> for Municipality {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(_: &Faker, rng: &mut R) -> Self {
        Self(tables::MUNICIPALITY_CHOICES.pick(0, rng.next_u64()) as u16)
    }
}

/// What a municipality is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MunicipalityKind {
    /// Obec, a village or a market town.
    Village,
    /// Město, a town.
    Town,
    /// Prague.
    Capital,
}

impl Municipality {
    /// All of the list.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..tables::MUNICIPALITIES.len() as u16).map(Self)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        tables::MUNICIPALITIES.get(usize::from(self.0))
    }

    /// The region it lies in.
    pub fn region(self) -> Region {
        Region(tables::MUNICIPALITY_REGIONS[usize::from(self.0)])
    }

    /// Inhabitants.
    pub fn population(self) -> u32 {
        tables::MUNICIPALITY_POPULATIONS[usize::from(self.0)]
    }

    /// Whether it is a village, a town or the capital.
    #[inline]
    pub fn kind(self) -> MunicipalityKind {
        match tables::MUNICIPALITY_KINDS[usize::from(self.0)] {
            0 => MunicipalityKind::Village,
            1 => MunicipalityKind::Town,
            _ => MunicipalityKind::Capital,
        }
    }
}

impl WriteText for Municipality {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        tables::MUNICIPALITIES.write(usize::from(self.0), out);
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
        /// The number along the street.
        house: u32,
    },
    /// `Nádražní 123/45`, sometimes `123/45a`.
    StreetWithOrientation {
        /// Index of the street's name.
        street: u16,
        /// The descriptive number (číslo popisné), unique in the municipality.
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

/// From this population on houses have orientation numbers, mostly.
const TOWN: u32 = 8_000;

/// The list of streets of a municipality whose streets have no names.
const NO_STREETS: u8 = 255;

/// The highest orientation numbers of ordinary streets, short streets and squares, as in the column `kind` of the streets.
const HIGHEST_NUMBERS: [u64; 3] = [120, 18, 30];

/// A street of the municipality, none that is named after it.
#[inline]
fn street<R: RngExt + ?Sized>(place: Municipality, list: u8, rng: &mut R) -> usize {
    loop {
        let street = tables::STREET_CHOICES.pick(usize::from(list), rng.next_u64());
        let pair = (street as u32) << 16 | u32::from(place.0);
        if tables::STREETS_ELSEWHERE.binary_search(&pair).is_err() {
            return street;
        }
    }
}

impl Dummy<AddressIn> for StreetAddress {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&AddressIn(place): &AddressIn, rng: &mut R) -> Self {
        let population = place.population();
        // A house for three people, up to the four-digit numbers of the big cities' districts.
        let houses = u64::from((population / 3).clamp(12, 3_000));
        let list = tables::MUNICIPALITY_STREETS[usize::from(place.0)];
        if list == NO_STREETS {
            return Self::House(1 + below(rng, houses) as u32);
        }
        let street = street(place, list, rng);
        let highest = HIGHEST_NUMBERS[usize::from(tables::STREET_KINDS[street])];
        let street = street as u16;
        if population < TOWN || chance(rng, 1, 4) {
            let house = 1 + below(rng, highest.min(houses)) as u32;
            return Self::Street { street, house };
        }
        let house = 1 + below(rng, houses) as u32;
        let draw = below(rng, highest * 16) as u16;
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
                tables::STREETS.write(usize::from(street), out);
                out.push_ascii(b' ');
                out.push_number(u64::from(house));
            }
            Self::StreetWithOrientation {
                street,
                house,
                orientation,
                letter,
            } => {
                tables::STREETS.write(usize::from(street), out);
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
    fn addresses_fit_the_size_of_the_place() {
        let place = |name: &str| Municipality::all().find(|place| place.name() == name).unwrap();
        for id in 0..5_000 {
            let hamlet: StreetAddress = AddressIn(place("Babice")).fake_with_rng(&mut test_rng(id));
            assert!(matches!(hamlet, StreetAddress::House(1..=70)), "{hamlet}");
            let city: StreetAddress = AddressIn(place("Praha")).fake_with_rng(&mut test_rng(id));
            assert!(!matches!(city, StreetAddress::House(_)), "{city}");
            assert!(!city.to_string().starts_with("Pražská"), "{city}");
        }
        let street = tables::STREETS.len() as u16 - 1;
        let address = StreetAddress::StreetWithOrientation {
            street,
            house: 123,
            orientation: 45,
            letter: Some(b'a'),
        };
        let name = tables::STREETS.get(usize::from(street));
        assert_eq!(address.to_string(), format!("{name} 123/45a"));
        assert_eq!(StreetAddress::House(88).to_string(), "č.p. 88");
    }
}
