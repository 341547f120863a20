/** The declared part of the parameter tree, written by Terraform. */
export const DECLARED_PARAMETERS_KEY = 'config/parameters.json';

/**
 * Most bytes of a declaration, `config/groups.json` or `config/parameters.json`, that is read. Terraform alone writes them. A group has
 * about 600 bytes in each, and up to 26 KB with a hundred long labels.
 */
export const MAX_DECLARATION_BYTES = 8 * 1024 * 1024;
