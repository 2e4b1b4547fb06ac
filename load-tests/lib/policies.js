/** What a loser may do (`retry=`). */
export const POLICIES = [
  'none', 'fixed', 'exponential', 'jitter', 'decorrelated', 'notify', 'fifo',
];
