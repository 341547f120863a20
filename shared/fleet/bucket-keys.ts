/** The declared part of the parameter tree, written by Terraform. */
export const DECLARED_PARAMETERS_KEY = 'config/parameters.json';
