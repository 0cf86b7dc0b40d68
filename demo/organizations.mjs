// Two organizations, each with its own (made-up) Twilio account, and the leads that come in.

export const ORGANIZATIONS = [
  {
    name: 'Bright Smile Dental',
    alertPhone: '+14155550199',
    account: {
      sid: 'AC0000000000000000000000000000000a',
      authToken: '0000000000000000000000000000a0a0',
      number: '+14155550100',
    },
    leads: [
      {
        name: 'Zoë Müller', phone: '+14155550142', service: 'teeth whitening', score: 92,
        summary: 'Wedding on Saturday 💍, asks whether two sessions fit in before that; prefers mornings, pays in cash.',
      },
      { name: null, phone: '+14155550143', service: null, summary: 'Left only a number.', score: 50 },
    ],
  },
  {
    name: 'Café Ōsaka',
    alertPhone: '+442079460199',
    account: {
      sid: 'AC0000000000000000000000000000000b',
      authToken: '0000000000000000000000000000b0b0',
      number: '+442079460100',
    },
    leads: [
      { name: '李小龍', phone: '+442079460142', service: 'catering', summary: 'Thirty people, 忘年会 in December.', score: 85 },
      { name: "Siobhán O'Connor", phone: '+442079460143', service: 'a table for two', summary: 'Window seat.', score: 40 },
    ],
  },
];

// Nobody's yet: for those who want to add an account on a page.
export const FREE_ACCOUNT = { sid: 'AC0000000000000000000000000000000c', authToken: '0000000000000000000000000000c0c0', number: '+14155550107' };
