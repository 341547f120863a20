import { describe, expect, test } from 'vitest';
import { readOutputs, readVariables } from './hcl.ts';

const source = `variable "plain" {
  description = "With \\"quotes\\"."
  type        = string
}

variable "types" {
  description = "Kinds."
  type = map(object({
    # Its image.
    image_id = string
    # Its types.
    types = optional(list(string))
    # Its times.
    schedule = optional(string, "cron(0 3 * * ? *)")
    # Its workspace.
    bazel = optional(object({ directory = string, ref = optional(string, "HEAD") }))
  }))
  default = {}
  validation {
    condition     = true
    error_message = "No."
  }
  validation {
    condition     = true
    error_message = "No."
  }
}

variable "regions" {
  description = "Where."
  type        = list(string)
  default     = []
}

variable "support" {
  description = "One object."
  type = object({
    # Its name.
    name  = optional(string)
    types = optional(string)
  })
  default = {}
}

output "bucket" {
  description = "Its name."
  value       = "x"
}
`;

test('variables are read with their types, defaults and validations', () => {
  const [plain, types, regions, support] = readVariables(source);
  expect(plain).toEqual({
    name: 'plain',
    description: 'With "quotes".',
    type: 'string',
    default: undefined,
    attributes: [],
    validations: 0,
  });
  expect(types).toMatchObject({
    type: 'map(object)',
    default: '{}',
    validations: 2,
    attributes: [
      { name: 'image_id', type: 'string', default: undefined, description: 'Its image.' },
      { name: 'types', type: 'list(string)', default: 'null', description: 'Its types.' },
      { name: 'schedule', type: 'string', default: '"cron(0 3 * * ? *)"' },
      {
        name: 'bazel',
        type: 'object({ directory = string, ref = optional(string, "HEAD") })',
        default: 'null',
      },
    ],
  });
  expect(regions).toMatchObject({ type: 'list(string)', default: '[]' });
  // An attribute without a comment is that of the same name above.
  expect(support).toMatchObject({
    type: 'object',
    attributes: [
      { name: 'name', description: 'Its name.' },
      { name: 'types', description: 'Its types.' },
    ],
  });
});

test('outputs are read', () => {
  expect(readOutputs(source)).toEqual([{ name: 'bucket', description: 'Its name.' }]);
});

describe('what the reader does not understand is an error:', () => {
  test.each([
    ['no description', 'variable "x" {\n  type = string\n}\n', /x has no description/],
    ['a block that does not end', 'variable "x" {\n  type = string\n', /does not end/],
    [
      'a description over several lines',
      'variable "x" {\n  description = <<-EOT\n    x\n  EOT\n}\n',
      /not a string on one line/,
    ],
    [
      'an attribute without a comment',
      'variable "x" {\n  description = "x"\n  type = object({\n    y = string\n  })\n}\n',
      /x\.y has no comment/,
    ],
    [
      'an object within an object',
      'variable "x" {\n  description = "x"\n  type = object({\n    # Y.\n    y = object({\n      z = string\n    })\n  })\n}\n',
      /not an attribute/,
    ],
  ])('%s', (_, text, message) => {
    expect(() => readVariables(text)).toThrow(message);
  });
});
