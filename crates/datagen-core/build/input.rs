//! Reads the lists in `data/`.

use std::fs;

/// Rows of fields.
pub(crate) type Rows = Vec<Vec<String>>;

/// Reads `data/NAME.tsv`: rows of `columns` fields, comments left out. A field that the encoders could not write verbatim into
/// JSON fails the build.
pub(crate) fn read(name: &str, columns: usize) -> Rows {
    let path = format!("data/{name}.tsv");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let rows = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let row: Vec<_> = line.split('\t').map(str::to_owned).collect();
        assert_eq!(row.len(), columns, "{path}: {line:?}");
        let plain = |field: &String| {
            !field.is_empty()
                && field.trim() == field
                && !field.contains(['"', '\\'])
                && !field.contains(char::is_control)
        };
        assert!(
            row.iter().all(plain),
            "{path}: {line:?} would need escaping in JSON"
        );
        row
    });
    rows.collect()
}

/// A column of numbers.
pub(crate) fn column(rows: &[Vec<String>], column: usize) -> Vec<u64> {
    rows.iter()
        .map(|row| {
            row[column]
                .parse()
                .unwrap_or_else(|_| panic!("not a number: {row:?}"))
        })
        .collect()
}

/// A column of texts.
pub(crate) fn texts(rows: &[Vec<String>], column: usize) -> impl Iterator<Item = &str> {
    rows.iter().map(move |row| row[column].as_str())
}

/// The number of the row that begins with `code`.
pub(crate) fn index_of(rows: &[Vec<String>], code: &str) -> usize {
    rows.iter()
        .position(|row| row[0] == code)
        .unwrap_or_else(|| panic!("no row {code}"))
}
