//! Reads and checks the lists in `data/`.

use std::fs;

/// Rows of fields.
pub(crate) type Rows = Vec<Vec<String>>;

/// Reads the rows of `data/NAME.tsv` without its comments. The build fails if a row does not have `columns` fields,
/// or if a field would need escaping in JSON, which the encoders do not do.
pub(crate) fn read(name: &str, columns: usize) -> Rows {
    let path = format!("data/{name}.tsv");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    // Checks bytes rather than characters, because the script is compiled without optimization and the lists are
    // long.
    let escaped = |byte: u8| matches!(byte, b'"' | b'\\' | 0x7f | 0x00..=0x08 | 0x0a..=0x1f);
    let rows = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        assert!(
            !line.bytes().any(escaped),
            "{path}: {line:?} would need escaping in JSON"
        );
        let row: Vec<_> = line.split('\t').map(str::to_owned).collect();
        assert_eq!(row.len(), columns, "{path}: {line:?}");
        let trimmed = |field: &String| !field.is_empty() && !field.starts_with(' ') && !field.ends_with(' ');
        assert!(
            row.iter().all(trimmed),
            "{path}: a field of {line:?} is empty or begins or ends with a space"
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
