#include "config/config.h"
#include "schema/config_words.h"

const char *
config_schema_text(void)
{
	return schema_text;
}

const char *
config_example_text(void)
{
	return example_text;
}
