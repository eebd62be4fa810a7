"""Prints COUNT (the only argument) users made by Python Faker, one JSON object per line: the peer of gen-users."""

import json
import sys

from faker import Faker

fake = Faker("cs_CZ")
for number in range(int(sys.argv[1])):
    print(
        json.dumps(
            {
                "id": number,
                "name": fake.name(),
                "city": fake.city(),
                "street_address": fake.street_address(),
                "phone_number": fake.phone_number(),
                "birth_number": fake.birth_number(),
                "user_name": fake.user_name(),
                "administrative_unit": fake.administrative_unit(),
                "description": fake.paragraph(nb_sentences=5, variable_nb_sentences=True),
                "jobs": [fake.job() for _ in range(3)],
            },
            ensure_ascii=False,
        )
    )
