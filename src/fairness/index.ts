// Fairness: measures of groups, the statistics that say how sure they are, audits and repairs: `evenfold/fairness`.

export * from './statistics'
