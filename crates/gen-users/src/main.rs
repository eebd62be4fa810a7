//! The process `gen-users`.

use std::process::ExitCode;

fn main() -> ExitCode {
    datagen_core::process::main::<gen_users::GenUsers>()
}
