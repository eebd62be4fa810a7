//! The process `gen-orders`.

use std::process::ExitCode;

fn main() -> ExitCode {
    datagen_process::main::<gen_orders::GenOrders>()
}
