import { randomUUID } from 'node:crypto';
import type { ServiceRequest, ServiceResponse } from '../../service.ts';
import { AutoScalingError } from '../core/errors.ts';
import type { World } from '../core/model.ts';
import { changeOperations } from './change.ts';
import { describeOperations } from './describe.ts';
import { type Form, parseForm } from './form.ts';
import { errorXml, successXml, type XmlValue } from './xml.ts';

/** One operation of the API: reads the form, reads or changes the world, and returns the members of the result. */
export type Operation = (world: World, form: Form) => XmlValue;

const OPERATIONS = new Map<string, Operation>(Object.entries({ ...describeOperations, ...changeOperations }));

/**
 * Answers one call. Errors of the service become its error documents; anything else is a defect of the emulation and
 * is thrown.
 *
 * @param run does the operation on the world as it is now
 */
export function answer(request: ServiceRequest, run: (operation: Operation, form: Form) => XmlValue) {
  const form = parseForm(request.body.length > 0 ? request.body.toString('utf8') : request.query.toString());
  const name = form.text('Action') ?? request.operation;
  const requestId = randomUUID();
  try {
    const operation = OPERATIONS.get(name);
    if (operation === undefined) {
      throw new AutoScalingError('InvalidAction', `Could not find operation ${name} for version 2011-01-01`);
    }
    return document(200, successXml(name, run(operation, form), requestId), requestId);
  } catch (error) {
    if (!(error instanceof AutoScalingError)) throw error;
    return errorDocument(error, requestId);
  }
}

/** An error as the service puts it on the wire. */
function errorDocument(
  error: { code: string; message: string; status: number },
  requestId: string,
): ServiceResponse {
  return document(error.status, errorXml(error.code, error.message, error.status, requestId), requestId);
}

function document(status: number, body: string, requestId: string): ServiceResponse {
  return { status, headers: { 'content-type': 'text/xml', 'x-amzn-requestid': requestId }, body };
}
