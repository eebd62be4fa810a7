//! Where people live: municipalities in their regions, weighted by population, and addresses in them.

use fake::{Dummy, Faker};
use rand::RngExt;

use super::tables::{self, Text};
use crate::rng::{halves, scale32};
use crate::text::{Cursor, WriteText, text_value};

/// One of the 14 regions (kraje), Prague included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region(u8);
text_value!(Region);

impl Region {
    /// The index in the list of regions.
    #[inline]
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The official name: `Jihomoravský kraj`.
    pub fn name(self) -> &'static str {
        tables::REGION_NAMES[usize::from(self.0)]
    }

    /// The leading digits of the numbers of the region's fixed telephone lines.
    pub fn landline_prefixes(self) -> &'static [u16] {
        let start = |region: u8| usize::from(tables::LANDLINE_STARTS[usize::from(region)]);
        &tables::LANDLINE_PREFIXES[start(self.0)..start(self.0 + 1)]
    }
}

impl WriteText for Region {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        tables::REGIONS.write(self.index(), out);
    }
}

/// A municipality: Prague, a town or a village.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Municipality(u16);
text_value!(Municipality);

/// Drawn by the population of the region and, within the region, by the population of the municipality.
impl Dummy<Faker> for Municipality {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(_: &Faker, rng: &mut R) -> Self {
        Self(tables::MUNICIPALITY_CHOICE.pick(halves(rng).0) as u16)
    }
}

/// The kind of a municipality, which determines how sentences refer to it.
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
    /// All municipalities of the list.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..tables::MUNICIPALITY_POPULATIONS.len() as u16).map(Self)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        self.text().as_str()
    }

    /// The name and the facts that addresses depend on, packed by the build script.
    #[inline(always)]
    fn facts(self) -> u64 {
        tables::long(tables::MUNICIPALITIES, usize::from(self.0))
    }

    /// The region it lies in.
    #[inline]
    pub fn region(self) -> Region {
        Region((self.facts() & 0xf) as u8)
    }

    /// Whether most houses have orientation numbers besides the descriptive ones.
    #[inline(always)]
    fn has_orientation_numbers(self) -> bool {
        self.facts() >> 12 & 1 == 1
    }

    /// The number of houses with descriptive numbers.
    #[inline(always)]
    fn houses(self) -> u32 {
        (self.facts() >> 16 & 0xffff) as u32
    }

    /// The list of streets, or [`NO_STREETS`].
    #[inline(always)]
    fn streets(self) -> usize {
        (self.facts() >> 8 & 0xf) as usize
    }

    #[inline(always)]
    pub(super) fn text(self) -> Text {
        Text::new((self.facts() >> 32) as u32)
    }

    /// The number of inhabitants.
    pub fn population(self) -> u32 {
        tables::MUNICIPALITY_POPULATIONS[usize::from(self.0)]
    }

    /// Whether it is a village, a town or the capital.
    #[inline]
    pub fn kind(self) -> MunicipalityKind {
        match self.facts() >> 4 & 0xf {
            0 => MunicipalityKind::Village,
            1 => MunicipalityKind::Town,
            _ => MunicipalityKind::Capital,
        }
    }
}

impl WriteText for Municipality {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        self.text().write::<LONGEST_MUNICIPALITY>(out);
    }
}

/// The maximum length of a municipality's name, in bytes.
const LONGEST_MUNICIPALITY: usize = 40;

/// An address within a municipality, in one of the forms that Czechs write: `Nádražní 123/45` with the descriptive
/// number (číslo popisné, unique in the municipality) and the orientation number (číslo orientační, counted along the
/// street), sometimes `123/45a`; `Nádražní 45`; and `č.p. 88` where streets have no names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreetAddress {
    /// Number of the street's name, or [`NO_STREET`].
    street: u16,
    /// The number in the municipality; without an orientation number, the number along the street.
    house: u16,
    /// 0 for none.
    orientation: u16,
    /// The letter of a house that was built between two others; 0 for none.
    letter: u8,
}
text_value!(StreetAddress);

/// An address in this municipality.
#[derive(Clone, Copy, Debug)]
pub struct AddressIn(pub Municipality);

/// Stands for the list of streets in municipalities whose streets have no names.
const NO_STREETS: usize = 15;

/// The number of the text that replaces the name in municipalities whose streets have no names: the last in the list.
const NO_STREET: u16 = tables::STREET_KINDS.len() as u16;

/// The highest orientation numbers of ordinary streets, short streets and squares (see the column `kind` of the
/// streets), and the bit of streets that do not exist in some municipality.
const HIGHEST_NUMBERS: [u32; 3] = [120, 18, 30];
const ELSEWHERE: u8 = 4;

/// Draws a street that exists in the municipality.
#[inline]
fn street<R: RngExt + ?Sized>(place: Municipality, list: usize, mut random: u32, rng: &mut R) -> usize {
    loop {
        let street = tables::STREET_CHOICES.pick(list, random);
        if tables::STREET_KINDS[street] & ELSEWHERE == 0 {
            return street;
        }
        let pair = (street as u32) << 16 | u32::from(place.0);
        if tables::STREETS_ELSEWHERE.binary_search(&pair).is_err() {
            return street;
        }
        random = halves(rng).0;
    }
}

impl Dummy<AddressIn> for StreetAddress {
    #[inline]
    fn dummy_with_rng<R: RngExt + ?Sized>(&AddressIn(place): &AddressIn, rng: &mut R) -> Self {
        let (of_house, of_street) = halves(rng);
        let houses = place.houses();
        let list = place.streets();
        if list == NO_STREETS {
            return Self {
                street: NO_STREET,
                house: 1 + scale32(of_house, houses) as u16,
                orientation: 0,
                letter: 0,
            };
        }
        let street = street(place, list, of_street, rng);
        let highest = HIGHEST_NUMBERS[usize::from(tables::STREET_KINDS[street] & !ELSEWHERE)];
        let (of_form, of_orientation) = halves(rng);
        // A quarter of the addresses in towns consist of the street and the orientation number only.
        let both = place.has_orientation_numbers() && of_form >> 30 != 0;
        let house = 1 + scale32(of_house, if both { houses } else { highest.min(houses) }) as u16;
        let draw = scale32(of_orientation, highest * 16) as u16;
        let orientation = if both { 1 + draw / 16 } else { 0 };
        let lettered = both && draw.is_multiple_of(16);
        Self {
            street: street as u16,
            house,
            orientation,
            letter: if lettered {
                b'a' + (orientation % 3) as u8
            } else {
                0
            },
        }
    }
}

impl WriteText for StreetAddress {
    #[inline]
    fn write_text(&self, out: &mut Cursor<'_>) {
        tables::STREETS.write(usize::from(self.street), out);
        out.push_ascii(b' ');
        out.push_small_number_if(u32::from(self.house), true);
        let both = self.orientation > 0;
        out.push_ascii_if(b'/', both);
        out.push_small_number_if(u32::from(self.orientation), both);
        out.push_ascii_if(self.letter, self.letter > 0);
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
        let place = |name: &str| {
            let places = Municipality::all().filter(|place| place.name() == name);
            places.min_by_key(|place| place.population()).unwrap()
        };
        for id in 0..5_000 {
            let hamlet: StreetAddress = AddressIn(place("Babice")).fake_with_rng(&mut test_rng(id));
            assert_eq!((hamlet.street, hamlet.orientation), (NO_STREET, 0), "{hamlet}");
            assert!((1..=70).contains(&hamlet.house), "{hamlet}");
            let city: StreetAddress = AddressIn(place("Praha")).fake_with_rng(&mut test_rng(id));
            assert_ne!(city.street, NO_STREET, "{city}");
            assert!(!city.to_string().starts_with("Pražská"), "{city}");
        }
        let address = StreetAddress {
            street: NO_STREET - 1,
            house: 123,
            orientation: 45,
            letter: b'a',
        };
        let name = tables::STREETS.text(usize::from(NO_STREET) - 1).as_str();
        assert_eq!(address.to_string(), format!("{name} 123/45a"));
        let address = StreetAddress {
            street: NO_STREET,
            house: 88,
            orientation: 0,
            letter: 0,
        };
        assert_eq!(address.to_string(), "č.p. 88");
    }
}
