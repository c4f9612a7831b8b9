import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { MAX_HEAD_BYTES } from './header-bound.ts';
import { createInboundReserve, engineFrameBytes } from './inbound-reserve.ts';
import { LINGER_MS } from './lingering.ts';

const KiB = 1024;
const MAX_FRAME_BYTES = 64 * KiB;
const FRAME_BYTES = engineFrameBytes(MAX_FRAME_BYTES);

const setUp = (memoryBudgetBytes: number) => {
  let charged = 0;
  const inbound = createInboundReserve({
    memoryBudgetBytes,
    maxFrameBytes: MAX_FRAME_BYTES,
    maxConnections: 100,
    maxHttpSockets: 50,
    onCharged: (bytes) => (charged += bytes),
  });
  return { inbound, charged: () => charged };
};

describe('the reserve for what arrives in pieces', () => {
  it('is the most that each socket may make the engine keep', () => {
    const { inbound, charged } = setUp(10 * 1024 * KiB);
    inbound.handleHttp('opened');
    inbound.handleHttp('opened');
    expect(charged()).toBe(2 * MAX_HEAD_BYTES);
    inbound.handleHttp('upgraded');
    expect(charged()).toBe(MAX_HEAD_BYTES + FRAME_BYTES);
    expect(inbound.httpSockets).toBe(1);
    inbound.handleHttp('closed');
    inbound.handleClosed('gone');
    expect(charged()).toBe(0);
  });

  it('counts a socket that was told to end until it cannot be there any more', () => {
    vi.useFakeTimers();
    try {
      const { inbound, charged } = setUp(10 * 1024 * KiB);
      inbound.handleHttp('opened');
      inbound.handleHttp('upgraded');
      inbound.handleClosed('ended');
      expect(charged()).toBe(FRAME_BYTES);
      vi.advanceTimersByTime(LINGER_MS);
      expect(charged()).toBe(FRAME_BYTES);
      vi.advanceTimersByTime(2000);
      expect(charged()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it('takes half of the budget at most, and says from where on it covers nobody more', () => {
    const { inbound, charged } = setUp(10 * FRAME_BYTES);
    for (let n = 0; n < 8; n++) {
      inbound.handleHttp('opened');
      expect(inbound.mayUpgrade).toBe(n < 5);
      inbound.handleHttp('upgraded');
    }
    expect([charged(), inbound.bytes, inbound.worstBytes]).toEqual([5 * FRAME_BYTES, 5 * FRAME_BYTES, 8 * FRAME_BYTES]);
    expect(inbound.highestBytes).toBe(100 * FRAME_BYTES + 50 * MAX_HEAD_BYTES);
  });

  it('is what was charged, whoever comes and goes in whatever order', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('opened', 'closed', 'upgraded', 'gone'), { maxLength: 200 }), (steps) => {
        const { inbound, charged } = setUp(20 * FRAME_BYTES);
        const there = { http: 0, ws: 0 };
        for (const step of steps) {
          if (step === 'opened') there.http++;
          else if (step === 'gone') {
            if (there.ws === 0) continue;
            there.ws--;
            inbound.handleClosed('gone');
            continue;
          } else {
            if (there.http === 0) continue;
            there.http--;
            if (step === 'upgraded') there.ws++;
          }
          inbound.handleHttp(step);
        }
        const worst = there.ws * FRAME_BYTES + there.http * MAX_HEAD_BYTES;
        expect(inbound.worstBytes).toBe(worst);
        expect(charged()).toBe(Math.min(worst, 10 * FRAME_BYTES));
      }),
    );
  });
});
