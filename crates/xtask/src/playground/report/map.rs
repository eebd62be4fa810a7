//! The map of Czechia: regions shaded according to their number of users, and towns as circles.

use std::collections::HashMap;

use maud::{Markup, html};

use super::charts::{Frame, Px, dot, grouped};

const REGIONS: &str = include_str!("data/regions.tsv");
const TOWNS: &str = include_str!("data/towns.tsv");

/// The part of the world that is shown, in degrees: west, east, south, north.
const BOUNDS: [f64; 4] = [12.05, 18.9, 48.53, 51.08];
/// The cosine of the middle latitude: a degree of longitude is shorter than one of latitude.
const LONGITUDE_SCALE: f64 = 0.645;

fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('\t').collect())
}

fn degrees(text: &str) -> f64 {
    text.parse().expect("a number of degrees")
}

/// Draws the users of `regions` and of `towns`, which are pairs of region and town. Small towns have no circle.
pub(super) fn country(width: f64, regions: &HashMap<&str, f64>, towns: &[((&str, &str), f64)]) -> Markup {
    let [west, east, south, north] = BOUNDS;
    let scale = width / ((east - west) * LONGITUDE_SCALE);
    let frame = Frame::new(width, ((north - south) * scale).ceil());
    let x = |longitude: f64| (longitude - west) * LONGITUDE_SCALE * scale;
    let y = |latitude: f64| (north - latitude) * scale;
    let places: HashMap<_, _> = lines(TOWNS)
        .map(|town| ((town[1], town[0]), (x(degrees(town[2])), y(degrees(town[3])))))
        .collect();
    let most = regions.values().copied().fold(1.0, f64::max);
    let largest = towns.iter().map(|&(_, users)| users).fold(1.0, f64::max);
    // In the order of the file, regions that enclose others come first, except for Praha.
    let mut outlines: Vec<_> = lines(REGIONS).collect();
    outlines.rotate_left(1);
    frame.svg(
        "Map of Czechia with users by region and town",
        &html! {
            @for region in outlines {
                @let points: Vec<_> = region[1]
                    .split(' ')
                    .filter_map(|point| point.split_once(','))
                    .map(|(longitude, latitude)| format!("{:.1},{:.1}", x(degrees(longitude)), y(degrees(latitude))))
                    .collect();
                @let users = regions.get(region[0]).copied().unwrap_or(0.0);
                polygon.ground points=(points.join(" ")) {}
                polygon.region points=(points.join(" ")) fill-opacity=(format!("{:.2}", 0.06 + 0.5 * users / most))
                    data-tip=(format!("{}: {} users", region[0], grouped(users, 0))) {}
            }
            @for (town, users) in towns {
                @if let Some(&place) = places.get(town) {
                    (dot("town", place, 1.2 + 15.0 * (users / largest).sqrt(), &format!("{}: {} users", town.1, grouped(*users, 0))))
                }
            }
            @for (town, _) in towns.iter().take(LABELLED) {
                @if let Some((x, y)) = places.get(town) {
                    @let anchor = if *x > width - 70.0 { "end" } else { "start" };
                    @let offset = if *x > width - 70.0 { -7.0 } else { 7.0 };
                    text.place x=(Px(x + offset)) y=(Px(y - 6.0)) text-anchor=(anchor) { (town.1) }
                }
            }
        },
    )
}

/// The number of the largest towns whose names are shown.
const LABELLED: usize = 8;

#[cfg(test)]
mod tests {
    use datagen_core::locale::place::Municipality;

    use super::*;

    #[test]
    fn shapes_and_towns_belong_to_the_regions_of_the_records() {
        let regions: Vec<_> = lines(REGIONS).map(|region| region[0]).collect();
        assert_eq!(regions.len(), 14);
        for municipality in Municipality::all() {
            assert!(regions.contains(&municipality.region().name()));
        }
        let [west, east, south, north] = BOUNDS;
        for town in lines(TOWNS) {
            assert!(regions.contains(&town[1]), "{town:?}");
            let (longitude, latitude) = (degrees(town[2]), degrees(town[3]));
            assert!(
                west < longitude && longitude < east && south < latitude && latitude < north,
                "{town:?}"
            );
        }
    }
}
