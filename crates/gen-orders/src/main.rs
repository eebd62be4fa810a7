//! The process `gen-orders`.

use std::process::ExitCode;

fn main() -> ExitCode {
    datagen_core::process::main::<gen_orders::GenOrders>()
}
