import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GRAFANA_DASHBOARD, grafanaDashboard } from '../grafana/dashboard.ts';
import { applyPolicies, parsePermissions } from './apply-policy.ts';
import { readOutputs, readVariables, type Variable } from './hcl.ts';
import { inputTables, outputTable, replaceBlock } from './tables.ts';

const PAGE = 'infra/README.md';
const IAM = 'infra/docs/iam';

/** Content of a page that does not exist yet. */
const EMPTY_PAGE =
  '# Terraform module\n\n## Inputs\n\n<!-- inputs -->\n<!-- /inputs -->\n\n## Outputs\n\n<!-- outputs -->\n<!-- /outputs -->\n';

/**
 * The expected content of every generated file of the docs.
 *
 * @param root the repository
 * @returns text by path
 */
export function generatedDocs(root: string): Record<string, string> {
  const page = existsSync(join(root, PAGE)) ? readFileSync(join(root, PAGE), 'utf8') : EMPTY_PAGE;
  const sources = rootModule(root);
  const typed = readVariables(readFileSync(join(root, 'infra/modules/inputs/variables.tf'), 'utf8'));
  const inputs = withTypes(sources.flatMap(readVariables), typed);
  const withInputs = replaceBlock(page, 'inputs', inputTables(inputs));
  const policies = applyPolicies(parsePermissions(readFileSync(join(root, IAM, 'permissions.json'), 'utf8')));
  return {
    [GRAFANA_DASHBOARD]: `${JSON.stringify(grafanaDashboard(), null, 2)}\n`,
    [PAGE]: replaceBlock(withInputs, 'outputs', outputTable(sources.flatMap(readOutputs))),
    ...Object.fromEntries(
      Object.entries(policies).map(([file, policy]) => [
        join(IAM, file),
        `${JSON.stringify(policy, null, 2)}\n`,
      ]),
    ),
  };
}

/**
 * Inputs with attributes have their type in `modules/inputs`.
 *
 * @param typed variables of `modules/inputs`
 */
function withTypes(variables: readonly Variable[], typed: readonly Variable[]): Variable[] {
  return variables.map((variable) => {
    const found = typed.find(({ name }) => name === variable.name);
    return found ? { ...variable, type: found.type, attributes: found.attributes } : variable;
  });
}

/** Sources of the root module: required inputs first, refused inputs last. */
function rootModule(root: string): string[] {
  const rank = (file: string) =>
    ['variables.tf', 'variables-groups.tf', 'variables-cache.tf', 'variables-operations.tf'].indexOf(file) +
      1 || 9;
  const files = readdirSync(join(root, 'infra')).filter((file) => file.endsWith('.tf'));
  files.sort((one, other) => rank(one) - rank(other) || one.localeCompare(other));
  return files.map((file) => readFileSync(join(root, 'infra', file), 'utf8'));
}
