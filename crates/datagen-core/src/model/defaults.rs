//! How many users and products there are by default. The generators of orders and of the stream refer to them by
//! their ids, so that with their own defaults what the four generators write joins.

/// Declares numbers, and the same numbers as texts for the descriptions of variables.
macro_rules! numbers {
    ($( $(#[$meaning:meta])* $name:ident, $text:ident = $value:literal; )+) => {$(
        $(#[$meaning])*
        pub const $name: u64 = $value;
        #[doc = concat!("[`", stringify!($name), "`] as text.")]
        pub const $text: &str = stringify!($value);
    )+};
}

numbers! {
    /// How many users there are.
    USERS, USERS_TEXT = 1000000;
    /// The highest id of a user: ids begin with 0.
    USER_MAX_ID, USER_MAX_ID_TEXT = 999999;
    /// How many products there are.
    PRODUCTS, PRODUCTS_TEXT = 1000;
    /// The highest id of a product: ids begin with 0.
    PRODUCT_MAX_ID, PRODUCT_MAX_ID_TEXT = 999;
}

const _: () = assert!(USER_MAX_ID + 1 == USERS && PRODUCT_MAX_ID + 1 == PRODUCTS);
