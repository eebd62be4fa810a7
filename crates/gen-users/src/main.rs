//! The process `gen-users`.

use std::process::ExitCode;

fn main() -> ExitCode {
    datagen_process::main::<gen_users::GenUsers>()
}
